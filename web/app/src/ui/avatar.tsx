/** A person as a doorway with initials in it. */

import type { JSX } from 'preact'
import { colorOf, initials } from '../state/people'

export function Avatar({ id, name, you = false }: { id: string; name: string; you?: boolean }): JSX.Element {
  return (
    <span
      class={you ? 'avatar you' : 'avatar'}
      title={you ? `${name} (you)` : name}
      style={{ '--person': colorOf(id) }}
    >
      <span aria-hidden="true">{initials(name)}</span>
    </span>
  )
}
