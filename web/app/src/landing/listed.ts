/** Which boards the landing page lists, and where. Pure. */

import type { RoomInfo } from '@enfilade/client'
import type { RememberedBoard } from '../state/visits'

export interface ListedBoard extends Pick<RoomInfo, 'id' | 'title' | 'role'> {
  readonly link?: string | undefined
  /** When it was last open in this browser, if ever. */
  readonly at?: number | undefined
}

/** The account's boards, the latest first, and those that only this browser knows. */
export function listed(mine: readonly ListedBoard[], remembered: readonly RememberedBoard[]) {
  const visits = new Map(remembered.map((board) => [board.id, board.at]))
  const own = new Set(mine.map((board) => board.id))
  const kept: ListedBoard[] = mine.map((board) => ({ ...board, at: visits.get(board.id) ?? board.at }))
  kept.sort((a, b) => (b.at ?? 0) - (a.at ?? 0))
  return { kept, loose: remembered.filter((board) => !own.has(board.id)) as readonly ListedBoard[] }
}
