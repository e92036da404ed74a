/** What is seen on a board, and ops that change it. */

import type { Board } from '../../src/board.js'
import type { BoardOp } from '../../src/types.js'

export const ids = (board: Board): string[] => board.elements().map(({ element }) => element)
export const colorOf = (board: Board, id: string): string | undefined => board.view(id)?.color
export const recolor = (element: string, color: string): BoardOp =>
  ({ type: 'restyle', data: { elements: [element], color } })
export const remove = (...elements: string[]): BoardOp => ({ type: 'delete', data: { elements } })

/** The ids of every change that was told of. */
export function changes(board: Board): string[][] {
  const all: string[][] = []
  board.on('change', ({ all: everything, ids }) => all.push(everything ? ['*'] : [...ids].sort()))
  return all
}
