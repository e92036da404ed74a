/** How many only watch: a quiet number beside the faces of those who are here by name. */

import type { JSX } from 'preact'
import type { BoardSession } from '../state/board-session'
import { wordsOf } from '../state/watching'
import { Icon } from './icons'

export function Watching({ session }: { session: BoardSession }): JSX.Element | null {
  const audience = session.audience.value
  if (audience === 0) return null
  const { label, number, short } = wordsOf(audience, session.watches)
  return (
    <p class="watching" role="note" aria-label={label} title={label}>
      <Icon name="eye" />
      <span class="watching-number">{number}</span>
      <span class="watching-short">{short}</span>
      <span class="watching-word">watching</span>
    </p>
  )
}
