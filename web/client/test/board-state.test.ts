import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { BoardState } from '../src/board-state.js'
import { toPairs, toPoints } from '../src/points.js'
import type { BoardOp, Element } from '../src/types.js'
import { boardOp } from './support/arbitrary.js'
import { rectangle, stroke } from './support/arrange.js'

const ADA = '5f0c0000-0000-4000-8000-000000000001'

function board(...ops: BoardOp[]): BoardState {
  const state = new BoardState()
  ops.forEach((op, i) => state.apply(op, { seq: i + 1, author: ADA }))
  return state
}

function get(state: BoardState, id: string): Record<string, unknown> {
  const element = state.elements.get(id)
  if (!element) throw new Error(`there is no element ${id}`)
  return element as unknown as Record<string, unknown>
}

describe('a board', () => {
  test('an added element has the author and the seq of its op', () => {
    expect(get(board(stroke('a')), 'a')).toEqual({
      element: 'a',
      type: 'stroke',
      author: ADA,
      z: 1,
      color: '#1a1a1a',
      width: 4,
      points: toPoints([[10, 10], [11.5, 12]]),
    })
  })

  test('every shape is added under its type', () => {
    const looks = { color: '#000000', width: 1 }
    const line = { ...looks, from: [0, 0] as [number, number], to: [1, 1] as [number, number] }
    const area = { ...looks, bounds: [0, 0, 1, 1] as [number, number, number, number] }
    const state = board(
      stroke('stroke'),
      { type: 'add_line', data: { element: 'line', ...line } },
      { type: 'add_arrow', data: { element: 'arrow', ...line } },
      { type: 'add_rectangle', data: { element: 'rectangle', ...area } },
      { type: 'add_ellipse', data: { element: 'ellipse', ...area } },
      { type: 'add_text', data: { element: 'text', color: '#000000', size: 16, from: [0, 0], text: 'hi' } },
      { type: 'add_note', data: { element: 'note', color: '#ffcc00', bounds: [0, 0, 9, 9], text: 'ho' } },
    )
    for (const [id, { type }] of state.elements) expect(type).toBe(id)
    expect(state.elements.size).toBe(7)
  })

  test('an element added again replaces what had its id, offset and deletion included', () => {
    const state = board(
      stroke('a'),
      { type: 'move', data: { elements: ['a'], offsets: [[5, 5]] } },
      { type: 'delete', data: { elements: ['a'] } },
      rectangle('a'),
    )
    expect(get(state, 'a')).toEqual({
      element: 'a',
      type: 'rectangle',
      author: ADA,
      z: 4,
      color: '#1a1a1a',
      width: 2,
      bounds: [0, 0, 10, 10],
    })
  })

  test('new points without pressure drop the pressure', () => {
    const pressed = stroke('a')
    const state = board(
      { ...pressed, data: { ...pressed.data, pressure: Uint8Array.of(1, 2) } } as BoardOp,
      { type: 'change', data: { element: 'a', points: toPoints([[0, 0]]) } },
    )
    expect(get(state, 'a').pressure).toBeUndefined()
    expect(toPairs(get(state, 'a').points as Float32Array)).toEqual([[0, 0]])
  })

  test('deleted elements go on changing, and come back as they were changed', () => {
    const state = board(
      rectangle('a'),
      { type: 'delete', data: { elements: ['a', 'nobody'] } },
      { type: 'restyle', data: { elements: ['a', 'nobody'], color: '#ff0000' } },
      { type: 'restore', data: { deleted_by: 2 } },
    )
    expect(get(state, 'a')).toMatchObject({ color: '#ff0000' })
    expect(get(state, 'a')).not.toHaveProperty('deleted_by')
  })

  test('what was deleted before is not deleted again', () => {
    const state = board(
      rectangle('a'),
      rectangle('b'),
      { type: 'delete', data: { elements: ['a'] } },
      { type: 'clear', data: {} },
      { type: 'restore', data: { deleted_by: 4 } },
    )
    expect(get(state, 'a').deleted_by).toBe(3)
    expect(get(state, 'b').deleted_by).toBeUndefined()
  })

  test('shapes without a property stay as they are', () => {
    const state = board(stroke('a'), rectangle('b'), {
      type: 'restyle',
      data: { elements: ['a', 'b'], size: 12, fill: '#aabbcc', width: 9 },
    })
    expect(get(state, 'a')).toMatchObject({ width: 9 })
    expect(get(state, 'a')).not.toHaveProperty('fill')
    expect(get(state, 'b')).toMatchObject({ width: 9, fill: '#aabbcc' })
    expect(get(state, 'b')).not.toHaveProperty('size')
  })

  test('a filling of nothing and an offset of nothing are absent', () => {
    const state = board(
      rectangle('a'),
      { type: 'restyle', data: { elements: ['a'], fill: '#aabbcc' } },
      { type: 'restyle', data: { elements: ['a'], fill: '#00000000' } },
      { type: 'move', data: { elements: ['a'], offsets: [[1, 1]] } },
      { type: 'move', data: { elements: ['a'], offsets: [[0, 0]] } },
    )
    expect(Object.keys(get(state, 'a'))).not.toContain('fill')
    expect(Object.keys(get(state, 'a'))).not.toContain('offset')
  })

  test('forgotten elements are gone', () => {
    expect(board(rectangle('a'), { type: 'forget', data: { elements: ['a'] } }).elements.size).toBe(0)
  })

  test('ops that a later version knows are skipped', () => {
    const later = { type: 'add_hologram', data: { element: 'x' } } as unknown as BoardOp
    expect(board(rectangle('a'), later).elements.size).toBe(1)
  })

  test('a change set names what changed, and nothing else', () => {
    const state = board(rectangle('a'), rectangle('b'))
    const change = state.apply({ type: 'delete', data: { elements: ['a', 'nobody'] } }, { seq: 3, author: ADA })
    expect([...change.ids]).toEqual(['a'])
    expect(change.all).toBe(false)
    const untouched = state.elements.get('b')
    state.apply({ type: 'move', data: { elements: ['a'], offsets: [[1, 1]] } }, { seq: 4, author: ADA })
    expect(state.elements.get('b')).toBe(untouched)
  })

  test('a snapshot and the ops after it are the same as all ops', () => {
    fc.assert(
      fc.property(fc.array(boardOp, { maxLength: 40 }), fc.nat(40), (ops, cut) => {
        const whole = board(...ops)
        const state = new BoardState()
        state.load(board(...ops.slice(0, cut)).snapshot())
        ops.slice(cut).forEach((op, i) => state.apply(op, { seq: Math.min(cut, ops.length) + i + 1, author: ADA }))
        expect(new Map<string, Element>(state.elements)).toEqual(new Map(whole.elements))
      }),
    )
  })

  test('elements are never changed in place', () => {
    fc.assert(
      fc.property(fc.array(boardOp, { maxLength: 20 }), boardOp, (ops, op) => {
        const state = board(...ops)
        const before = [...state.elements.values()]
        const copies = structuredClone(before)
        state.apply(op, { seq: ops.length + 1, author: ADA })
        expect(before).toEqual(copies)
      }),
    )
  })
})
