/** Who is here: a few faces, and all the names behind them. */

import type { Member } from '@enfilade/client'
import type { JSX } from 'preact'
import { session as account } from '../state/account'
import type { BoardSession } from '../state/board-session'
import { dialog } from '../state/dialogs'
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
      label={count === 1 ? 'Only you are here' : `${count} people are here`}
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
          <h3>{count === 1 ? 'Just you so far' : `${count} people here`}</h3>
          <ul>
            {people.slice(0, LISTED).map((person) => (
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
          {count > Math.min(people.length, LISTED) && (
            <p class="hint">and {count - Math.min(people.length, LISTED)} more</p>
          )}
          {!account.value && <ChangeName close={close} />}
        </div>
      )}
    </Popover>
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
