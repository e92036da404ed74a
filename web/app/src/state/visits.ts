/** The list of boards that a browser has seen. Pure. */

import type { Role } from '@enfilade/client'

export interface RememberedBoard {
  readonly id: string
  readonly title: string
  readonly role: Role
  /** The secret of the best link known; absent if one came as a member. */
  readonly link?: string | undefined
  /** When it was last open, in milliseconds since 1970. */
  readonly at: number
}

/** The oldest visits are forgotten beyond this. Boards that one owns only through a link are the last to go. */
export const REMEMBERED_MAX = 200

const RANK: Readonly<Record<Role, number>> = { viewer: 0, editor: 1, owner: 2 }

/** The list with a visit noted: newest first, a better link is never replaced by a worse one. */
export function withVisit(boards: readonly RememberedBoard[], visit: RememberedBoard): RememberedBoard[] {
  const before = boards.find((board) => board.id === visit.id)
  const better = before?.link && RANK[before.role] > RANK[visit.role] ? before : visit
  const entry = { ...visit, role: better.role, link: better.link ?? before?.link }
  const list = [entry, ...boards.filter((board) => board.id !== visit.id)]
  if (list.length <= REMEMBERED_MAX) return list
  const expendable = list.findLastIndex((board, i) => i > 0 && board.role !== 'owner')
  return list.toSpliced(expendable > 0 ? expendable : list.length - 1, 1)
}
