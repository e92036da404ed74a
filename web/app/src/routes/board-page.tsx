/** A board: opens the session, and shows it or the reason why not. */

import { useComputed, useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { restoring, session as account } from '../state/account'
import { BoardSession } from '../state/board-session'
import { dialog } from '../state/dialogs'
import { guestName } from '../state/names'
import { opStore } from '../state/op-store'
import { forgetStaleLink, linkFor } from '../state/opening'
import { remember } from '../state/remembered'
import { UNTITLED } from '../ui/board-title'
import { BoardView } from '../ui/board-view'
import { NameDialog } from '../ui/name-dialog'
import { Mark } from '../ui/wordmark'
import { TroublePage } from './trouble-page'

interface Props {
  readonly room: string
  readonly link: string | undefined
  readonly watch: boolean
}

export function BoardPage({ room, link, watch }: Props): JSX.Element {
  const current = useSignal<BoardSession | undefined>(undefined)
  const attempt = useSignal(0)
  /** Whether one only watches: because the address says so, or because there is a crowd. */
  const watches = useSignal(watch)
  /** Another name, another account or another try is another session. */
  const identity = useComputed(() => account.value?.user.id ?? `guest ${guestName.value}`)

  useEffect(() => {
    if (restoring.value) return
    // Whoever was signed out is told so, and not let in as a guest behind their back.
    if (current.peek()?.trouble.peek()?.kind === 'signed-out' && !account.peek()) return
    const session = new BoardSession(room, linkFor(room, link), opStore, watches.value)
    current.value = session
    return () => session.close()
  }, [room, link, identity.value, attempt.value, restoring.value, watches.value])

  const session = current.value
  const crowded = session?.crowded.value ?? false
  useEffect(() => {
    if (crowded) watches.value = true
  }, [crowded])
  const trouble = session?.trouble.value
  const again = () => {
    current.value = undefined
    attempt.value += 1
  }
  useEffect(() => {
    if (trouble?.kind === 'revoked' && forgetStaleLink(room, session?.link, link)) again()
  }, [trouble])

  if (!session) return <Opening />
  if (trouble) return <TroublePage trouble={trouble} onRetry={again} />
  return (
    <>
      <Remembering session={session} key={session.client} />
      <BoardView session={session} key={session} />
      {!session.opened.value && <Opening />}
      {dialog.value === 'name' && <NameDialog unsaved={() => session.unsaved} />}
    </>
  )
}

/** Notes every visit, and the title in the window's. Draws nothing. */
function Remembering({ session }: { session: BoardSession }): null {
  const opened = session.opened.value
  const title = session.title.value
  const role = session.role.value
  useEffect(() => {
    if (!opened || !role) return
    document.title = `${title || UNTITLED} · Enfilade`
    remember({ id: session.board.room.id, title, role, ...(session.link && { link: session.link }) })
  }, [opened, title, role])
  return null
}

function Opening(): JSX.Element {
  return (
    <div class="opening" role="status">
      <Mark />
      <p>Opening the board…</p>
    </div>
  )
}
