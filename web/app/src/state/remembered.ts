/**
 * The boards that this browser has seen, with the links that open them: how a guest finds back, and how a guest's own
 * boards come into the account after signing up.
 */

import { signal } from '@preact/signals'
import { keep, onKept, recall } from './keeping'
import { type RememberedBoard, REMEMBERED_MAX, withVisit } from './visits'

function isBoards(value: unknown): value is RememberedBoard[] {
  return Array.isArray(value) && value.length <= REMEMBERED_MAX && value.every(isBoard)
}

function isBoard(value: unknown): value is RememberedBoard {
  if (typeof value !== 'object' || value === null) return false
  const board = value as Record<string, unknown>
  return (
    typeof board['id'] === 'string' &&
    typeof board['title'] === 'string' &&
    typeof board['at'] === 'number' &&
    ['viewer', 'editor', 'owner'].includes(board['role'] as string) &&
    (board['link'] === undefined || typeof board['link'] === 'string')
  )
}

export const remembered = signal<readonly RememberedBoard[]>(recall('boards', isBoards) ?? [])
onKept('boards', () => (remembered.value = recall('boards', isBoards) ?? []))

function update(boards: readonly RememberedBoard[]): void {
  remembered.value = boards
  keep('boards', boards)
}

export function remember(visit: Omit<RememberedBoard, 'at'>): void {
  update(withVisit(recall('boards', isBoards) ?? [], { ...visit, at: Date.now() }))
}

export function forgetBoard(id: string): void {
  update(remembered.value.filter((board) => board.id !== id))
}

/** The link is no longer what opens the board: it belongs to the account now, or the link was revoked. */
export function forgetLink(id: string): void {
  update(remembered.value.map((board) => (board.id === id ? { ...board, role: 'viewer', link: undefined } : board)))
}

export const rememberedBoard = (id: string): RememberedBoard | undefined =>
  remembered.value.find((board) => board.id === id)
