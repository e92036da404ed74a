/** What stands around the canvas: title and state, people and sharing, tools, zoom. */

import type { JSX } from 'preact'
import type { Stage } from '../canvas/stage'
import { homeward } from '../routes/trouble-page'
import type { BoardSession } from '../state/board-session'
import { closeDialog, dialog } from '../state/dialogs'
import { dropStaleAddress } from '../state/opening'
import { BoardTitle, UNTITLED } from './board-title'
import { HelpDialog } from './help-dialog'
import { Icon } from './icons'
import { IndicatorPill } from './indicator-pill'
import { MainMenu } from './main-menu'
import { NameHint } from './name-hint'
import { PeopleList } from './people-list'
import { ShareDialog } from './share-dialog'
import { Toolbar } from './toolbar'
import { Watching } from './watching'
import { Mark } from './wordmark'
import { ZoomBar } from './zoom-bar'

interface Props {
  readonly session: BoardSession
  readonly stage: Stage
  readonly empty: boolean
}

export function BoardFurniture({ session, stage, empty }: Props): JSX.Element {
  const edits = session.canEdit.value
  return (
    <>
      <header class="top">
        <div class="bar naming">
          <a class="home" href="/" aria-label="Enfilade, all boards" onClick={homeward}>
            <Mark />
          </a>
          <BoardTitle session={session} />
          <IndicatorPill session={session} />
        </div>
        <div class="bar">
          <Watching session={session} />
          <PeopleList session={session} />
          <button
            type="button"
            class="button primary share"
            aria-label="Share"
            onClick={() => (dialog.value = 'share')}
          >
            <Icon name="share" />
            <span>Share</span>
          </button>
          <MainMenu stage={stage} title={session.title.value || UNTITLED} />
        </div>
      </header>
      {session.opened.value && !session.watches && <NameHint />}
      {edits && empty && session.opened.value && <Invitation />}
      <div class="bottom">{edits ? <Toolbar session={session} /> : session.opened.value && <ViewOnly watches={session.watches} />}</div>
      <ZoomBar stage={stage} />
      <button
        type="button"
        class="icon-button help"
        aria-label="Keys and gestures"
        title="Keys and gestures (?)"
        onClick={() => (dialog.value = 'help')}
      >
        <Icon name="help" />
      </button>
      <BoardDialogs session={session} />
    </>
  )
}

function BoardDialogs({ session }: { session: BoardSession }): JSX.Element | null {
  const role = session.role.value
  const room = session.board.room.id
  if (dialog.value === 'help') return <HelpDialog />
  if (dialog.value !== 'share' || !role) return null
  const close = () => {
    closeDialog()
    if (role === 'owner') dropStaleAddress(room)
  }
  return <ShareDialog room={room} link={session.link} role={role} onClose={close} />
}

function Invitation(): JSX.Element {
  return (
    <div class="invitation" aria-hidden="true">
      <p class="invitation-title">An empty room.</p>
      <p>Draw on its walls. Whoever has the link sees it at once.</p>
    </div>
  )
}

function ViewOnly({ watches }: { watches: boolean }): JSX.Element {
  return (
    <p class="view-only" role="note">
      <Icon name="eye" />
      <span>
        <strong>{watches ? 'You are watching.' : 'View only.'}</strong> <span class="view-only-more">You see every change as it happens.</span>
      </span>
    </p>
  )
}
