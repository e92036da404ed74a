/** The boards one knows: those of the account, and those that this browser remembers. */

import type { Role } from '@enfilade/client'
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api, session } from '../state/account'
import { wordsFor } from '../state/failure'
import { go } from '../state/navigation'
import { ago } from '../state/ago'
import { forgetBoard, forgetLink, remembered } from '../state/remembered'
import { boardAddress } from '../state/shared-links'
import { say } from '../state/toast'
import { UNTITLED } from '../ui/board-title'
import { Icon } from '../ui/icons'
import { type ListedBoard, listed } from './listed'

export function BoardList(): JSX.Element | null {
  const [mine, setMine] = useState<readonly ListedBoard[]>()
  const [failure, setFailure] = useState<string>()
  const who = session.value?.user.id
  const load = async () => {
    try {
      setFailure(undefined)
      setMine(who ? await ownBoards() : [])
    } catch (error) {
      setFailure(wordsFor(error))
    }
  }
  useEffect(() => void load(), [who])
  const { kept, loose } = listed(mine ?? [], remembered.value)
  return (
    <>
      {who && (
        <Section
          title="Your boards"
          boards={kept}
          empty={mine && 'No boards yet. Open the first one.'}
          failure={failure}
        />
      )}
      {loose.length > 0 && (
        <Section
          title={who ? 'Also seen in this browser' : 'Lately in this browser'}
          boards={loose}
          act={(board) => <LooseActions board={board} signedIn={who !== undefined} onKept={load} />}
        />
      )}
    </>
  )
}

/** Enough pages for anybody; a list that long is better searched than read. */
const PAGES_MAX = 10

async function ownBoards(): Promise<ListedBoard[]> {
  const boards: ListedBoard[] = []
  let after: string | undefined
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { rooms, next } = await api.rooms(after ? { after } : {})
    boards.push(...rooms.filter((room) => room.kind === 'board').map((room) => ({ ...room, at: room.created_at })))
    if (!next) break
    after = next
  }
  return boards
}

interface SectionProps {
  readonly title: string
  readonly boards: readonly ListedBoard[]
  readonly empty?: string | undefined
  readonly failure?: string | undefined
  readonly act?: (board: ListedBoard) => JSX.Element
}

function Section({ title, boards, empty, failure, act }: SectionProps): JSX.Element {
  return (
    <section class="boards">
      <h2>{title}</h2>
      {failure && (
        <p class="form-failure" role="alert">
          {failure}
        </p>
      )}
      {boards.length === 0 && empty && <p class="boards-empty">{empty}</p>}
      <ul>
        {boards.map((board) => (
          <li key={board.id} class="board-card">
            <a href={boardAddress(board.id)} onClick={follow}>
              <Doorways id={board.id} />
              <span class="board-card-title">{board.title || UNTITLED}</span>
              <span class="board-card-when">
                {[board.at && ago(board.at), ROLE_WORDS[board.role]].filter(Boolean).join(' · ')}
              </span>
            </a>
            {act?.(board)}
          </li>
        ))}
      </ul>
    </section>
  )
}

const ROLE_WORDS: Readonly<Record<Role, string>> = { owner: 'yours', editor: 'can edit', viewer: 'can view' }

function follow(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return
  event.preventDefault()
  go((event.currentTarget as HTMLAnchorElement).pathname)
}

interface LooseProps {
  readonly board: ListedBoard
  readonly signedIn: boolean
  readonly onKept: () => Promise<void>
}

function LooseActions({ board, signedIn, onKept }: LooseProps): JSX.Element {
  const keepIt = async () => {
    try {
      await api.becomeMember(board.id, board.link ?? '')
      forgetLink(board.id)
      await onKept()
      say('The board is in your account now.')
    } catch (error) {
      say(wordsFor(error), 'bad')
    }
  }
  return (
    <div class="board-card-ways">
      {signedIn && board.link && (
        <button type="button" class="button small" onClick={keepIt}>
          Keep in my account
        </button>
      )}
      <button
        type="button"
        class="icon-button small"
        aria-label={`Forget ${board.title || UNTITLED} in this browser`}
        title="Forget in this browser"
        onClick={() => forgetBoard(board.id)}
      >
        <Icon name="close" />
      </button>
    </div>
  )
}

/** A small suite of rooms, painted differently for every board. */
function Doorways({ id }: { id: string }): JSX.Element {
  const tone = Number.parseInt(id.slice(0, 2), 16) % 6
  return (
    <svg
      class="board-card-art"
      data-tone={tone}
      viewBox="0 0 220 96"
      preserveAspectRatio="xMidYMax slice"
      aria-hidden="true"
    >
      <path class="art-1" d="M38 96V60a72 56 0 0 1 144 0v36z" />
      <path class="art-2" d="M66 96V64a44 40 0 0 1 88 0v32z" />
      <path class="art-3" d="M86 96V68a24 26 0 0 1 48 0v28z" />
      <path class="art-4" d="M99 96V72a11 14 0 0 1 22 0v24z" />
    </svg>
  )
}
