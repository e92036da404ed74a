/** Who is here: a few faces, and all the names behind them. */

import type { Member } from '@enfilade/client'
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api, session as account } from '../state/account'
import type { BoardSession } from '../state/board-session'
import { dialog } from '../state/dialogs'
import { wordsFor } from '../state/failure'
import { Avatar } from './avatar'
import { Popover } from './popover'

/** Faces shown before the rest becomes a number. */
const FACES = 4
/** Names listed; more would be scrolled past, not read. */
const LISTED = 100

const ROLES = { owner: 'Owner', editor: 'Draws', viewer: 'Watches' } as const

export function PeopleList({ session }: { session: BoardSession }): JSX.Element | null {
  const me = session.me.value
  const people = meFirst(session.people.value, me)
  const count = session.count.value
  if (count === 0) return null
  const faces = people.slice(0, FACES)
  return (
    <Popover
      label={here(count, session.watches)}
      className="faces"
      button={
        <>
          {faces.map((person) => (
            <Avatar key={person.id} id={person.id} name={person.name} you={person.id === me} />
          ))}
          {count > faces.length && <span class="more">+{count - faces.length}</span>}
        </>
      }
    >
      {(close) => (
        <div class="people">
          <h3>{heading(count, session.watches)}</h3>
          {count > people.length ? (
            <Crowd session={session} me={me} />
          ) : (
            <>
              <People people={people.slice(0, LISTED)} me={me} />
              {count > LISTED && <p class="hint">and {count - LISTED} more</p>}
            </>
          )}
          {!account.value && !session.watches && <ChangeName close={close} />}
        </div>
      )}
    </Popover>
  )
}

/** Whoever watches is not one of them. */
const here = (count: number, watches: boolean): string => {
  if (count > 1) return `${count} people are here`
  return watches ? '1 person is here' : 'Only you are here'
}

const heading = (count: number, watches: boolean): string => {
  if (count > 1) return `${count} people here`
  return watches ? '1 person here' : 'Just you so far'
}

function People({ people, me }: { people: readonly Member[]; me: string | undefined }): JSX.Element {
  return (
    <ul>
      {people.map((person) => (
        <li key={person.id}>
          <Avatar id={person.id} name={person.name} />
          <span class="person-name">
            {person.name}
            {person.id === me && <em> you</em>}
          </span>
          <span class="person-role">{ROLES[person.role]}</span>
        </li>
      ))}
    </ul>
  )
}

/** The board of a crowd is told how many there are; who they are is asked for, page by page. */
function Crowd({ session, me }: { session: BoardSession; me: string | undefined }): JSX.Element {
  const [people, setPeople] = useState<Member[]>([])
  const [next, setNext] = useState<string | undefined>('')
  const [failure, setFailure] = useState<string>()
  const more = async (): Promise<void> => {
    setFailure(undefined)
    try {
      const page = await api.people(session.board.room.id, next ? { after: next } : {}, session.link)
      setPeople((known) => [...known, ...page.members])
      setNext(page.next)
    } catch (error) {
      setFailure(wordsFor(error))
    }
  }
  useEffect(() => void more(), [])
  return (
    <>
      <People people={people} me={me} />
      {failure && <p class="hint">{failure}</p>}
      {next !== undefined && people.length > 0 && (
        <button type="button" class="button small quiet wide" onClick={more}>
          Show more
        </button>
      )}
    </>
  )
}

function ChangeName({ close }: { close: () => void }): JSX.Element {
  const open = () => {
    close()
    dialog.value = 'name'
  }
  return (
    <button type="button" class="button small quiet wide" onClick={open}>
      Change my name
    </button>
  )
}

function meFirst(people: readonly Member[], me: string | undefined): Member[] {
  return [...people].sort((a, b) => Number(b.id === me) - Number(a.id === me) || a.name.localeCompare(b.name))
}
