/** The board's title; its owner changes it in place. */

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { api } from '../state/account'
import type { BoardSession } from '../state/board-session'
import { wordsFor } from '../state/failure'
import { say } from '../state/toast'

export const UNTITLED = 'Untitled board'
/** The protocol's bound of names. */
const TITLE_MAX = 64

export function BoardTitle({ session }: { session: BoardSession }): JSX.Element {
  const [editing, setEditing] = useState(false)
  const title = session.title.value || UNTITLED
  if (session.role.value !== 'owner')
    return (
      <h1 class="title" title={title}>
        {title}
      </h1>
    )
  if (!editing) {
    return (
      <h1 class="title">
        <button type="button" title="Rename this board" onClick={() => setEditing(true)}>
          {title}
        </button>
      </h1>
    )
  }
  return <TitleField session={session} onDone={() => setEditing(false)} />
}

function TitleField({ session, onDone }: { session: BoardSession; onDone: () => void }): JSX.Element {
  const commit = (text: string) => {
    onDone()
    const wanted = text.trim().slice(0, TITLE_MAX)
    if (wanted !== '' && wanted !== session.title.value) void rename(session, wanted)
  }
  return (
    <input
      class="title-field"
      aria-label="Title of the board"
      maxLength={TITLE_MAX}
      defaultValue={session.title.value}
      placeholder={UNTITLED}
      ref={(field) => field?.select()}
      onBlur={(event) => commit(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') event.currentTarget.blur()
        if (event.key === 'Escape') onDone()
        event.stopPropagation()
      }}
    />
  )
}

async function rename(session: BoardSession, title: string): Promise<void> {
  const before = session.title.value
  session.title.value = title
  try {
    await api.renameRoom(session.board.room.id, title, session.link)
  } catch (error) {
    session.title.value = before
    say(wordsFor(error), 'bad')
  }
}
