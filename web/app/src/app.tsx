/** The page: the route's, and what may lie over any of them. */

import type { JSX } from 'preact'
import { BoardPage } from './routes/board-page'
import { LandingPage } from './routes/landing-page'
import { TroublePage } from './routes/trouble-page'
import { dialog } from './state/dialogs'
import { route } from './state/navigation'
import { trouble } from './state/trouble'
import { AccountDialog } from './ui/account-dialog'
import { DevicesDialog } from './ui/devices-dialog'
import { Toasts } from './ui/toasts'

export function App(): JSX.Element {
  const face = dialog.value
  return (
    <>
      <Page />
      {(face === 'sign-in' || face === 'sign-up') && <AccountDialog face={face} />}
      {face === 'devices' && <DevicesDialog />}
      <Toasts />
    </>
  )
}

function Page(): JSX.Element {
  const current = route.value
  switch (current.page) {
    case 'landing':
      return <LandingPage />
    case 'board':
      return <BoardPage key={current.room} room={current.room} link={current.link} watch={current.watch} />
    case 'nowhere':
      return <TroublePage trouble={trouble('missing')} />
  }
}
