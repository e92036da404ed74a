/** Who is in a room. Pure: every message makes a new picture of the last one. */

import type { Member, Presence, Uuid } from './types.js'

export interface RoomPresence {
  /** How many people there are. */
  readonly count: number
  /** Who they are, by id; in a room of more than 200 people not all are listed. */
  readonly members: ReadonlyMap<Uuid, Member>
  /** How many only watch; they are not among `count`. */
  readonly audience: number
}

export const NOBODY: RoomPresence = { count: 0, members: new Map(), audience: 0 }

/** A list of members replaces what was known; joined and left change it. */
export function updated(before: RoomPresence, { count, audience = 0, members, joined, left }: Presence): RoomPresence {
  const next = new Map(members ? [] : before.members)
  for (const id of left ?? []) next.delete(id)
  for (const member of [...(members ?? []), ...(joined ?? [])]) next.set(member.id, member)
  return { count, members: next, audience }
}
