import { describe, expect, test } from 'vitest'

import { toPoints } from '../../src/points.js'
import type { BoardOp, Element } from '../../src/types.js'
import { ROOM, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { SOMEBODY } from '../support/fake-server.js'
import { colorOf, ids, recolor, remove } from '../support/seen.js'

describe('undo', () => {
  test('of an add deletes, and redo brings it back', async () => {
    const { server, board } = scene()
    const mine = await board()
    await mine.submit(stroke('a'))
    const states: unknown[] = []
    mine.on('history', (state) => states.push(state))
    mine.undo()
    expect(ids(mine)).toEqual([])
    await settled()
    mine.redo()
    expect(ids(mine)).toEqual(['a'])
    await settled()
    mine.undo()
    await settled()
    expect(server.room(ROOM).log.map(({ op }) => op)).toEqual([
      expect.objectContaining({ type: 'add_stroke' }),
      remove('a'),
      { type: 'restore', data: { deleted_by: 2 } },
      remove('a'),
    ])
    expect(states).toEqual([
      { canUndo: false, canRedo: true },
      { canUndo: true, canRedo: false },
      { canUndo: false, canRedo: true },
    ])
  })

  test('of a deletion restores exactly what it deleted', async () => {
    const { server, board } = scene()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    server.somebody(ROOM, remove('c'))
    const mine = await board()
    await mine.submit({ type: 'clear', data: {} })
    expect(ids(mine)).toEqual([])
    mine.undo()
    expect(ids(mine)).toEqual(['a', 'b'])
    await settled()
    mine.redo()
    await settled()
    expect(ids(mine)).toEqual([])
    mine.undo()
    await settled()
    expect(ids(mine)).toEqual(['a', 'b'])
    expect(mine.elements()).toEqual(server.elements(ROOM).filter(({ deleted_by }) => deleted_by === undefined))
  })

  test('of a deletion that was never sent takes it back', async () => {
    const { server, clock, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    server.reachable = false
    server.last.close(4000)
    await settled()
    void mine.submit(remove('a')).catch(() => {})
    expect([ids(mine), mine.room.unanswered]).toEqual([[], 1])
    mine.undo()
    expect([ids(mine), mine.room.unanswered]).toEqual([['a'], 0])
    mine.redo()
    expect([ids(mine), mine.room.unanswered]).toEqual([[], 1])
    server.reachable = true
    await clock.advance(1_000)
    expect(server.room(ROOM).log.map(({ op }) => op.type)).toEqual(['add_rectangle', 'delete'])
    expect(ids(mine)).toEqual([])
    mine.undo()
    await settled()
    expect(ids(mine)).toEqual(['a'])
  })

  test('of a deletion that is on its way is seen at once and follows when its seq is known', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    const held: (() => void)[] = []
    server.intercept = (connection, message) => {
      if (message.type !== 'submit' || held.length > 0) return false
      held.push(() => connection.take(connection.codec.encode(message).body))
      return true
    }
    void mine.submit(remove('a'))
    await settled()
    mine.undo()
    expect(ids(mine)).toEqual(['a'])
    // Somebody else is quicker: the places of own ops are others than foretold.
    server.somebody(ROOM, rectangle('x'))
    await settled()
    expect(ids(mine)).toEqual(['a', 'x'])
    mine.redo()
    expect(ids(mine)).toEqual(['x'])
    void mine.submit(rectangle('b'))
    expect(mine.room.unanswered).toBe(4)
    held[0]!()
    await settled()
    expect(ids(mine)).toEqual(['x', 'b'])
    mine.undo()
    mine.undo()
    expect(ids(mine)).toEqual(['a', 'x'])
    await settled()
    expect(ids(mine)).toEqual(['a', 'x'])
    expect(server.room(ROOM).log.map(({ op }) => op.type)).toEqual([
      'add_rectangle',
      'add_rectangle',
      'delete',
      'restore',
      'delete',
      'add_rectangle',
      'delete',
      'restore',
    ])
    expect(server.room(ROOM).log.slice(2).map(({ op_id }) => op_id)).toEqual([1, 2, 3, 4, 5, 6])
  })

  test.each<[string, BoardOp]>([
    ['the answer', remove('a')],
    ['a snapshot', remove('a')],
    ['a snapshot', { type: 'clear', data: {} }],
  ])('of a deletion holds, when %s tells first that it happened', async (first, deletion) => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    const answers: (() => void)[] = []
    server.intercept = (connection, message) => {
      if (message.type !== 'submit') return false
      const { op_id, op } = message.data
      // Somebody else was quicker, so the place is not the one that was to be expected.
      server.room(ROOM).log.push({ author: SOMEBODY, client: SOMEBODY, op_id, at: 0, op: rectangle(`x${op_id}`) })
      server.room(ROOM).log.push({ author: connection.user!.id, client: connection.client!, op_id, at: 0, op })
      const data = { seq: server.room(ROOM).log.length }
      answers.push(() => connection.reply(message.id, { type: 'accepted', data } as never))
      return true
    }
    void mine.submit(deletion)
    await settled()
    mine.undo()
    const shown: boolean[] = []
    mine.on('change', () => shown.push(mine.view('a') !== undefined))
    const position = { epoch: 3, seq: 3 }
    const snapshot = server.state(ROOM).snapshot()
    if (first === 'a snapshot') server.last.send({ type: 'reset', data: { room: ROOM, position, snapshot } })
    await settled()
    answers[0]!()
    await settled()
    expect(mine.view('a')).toBeDefined()
    server.last.ping()
    answers[1]!()
    await settled()
    expect(mine.elements()).toEqual(server.elements(ROOM))
    expect(mine.elements().map(({ element }) => element)).toContain('a')
    if (first === 'the answer') expect(shown).not.toContain(false)
  })

  test('of a deletion that is refused has nothing to bring back', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    const held: (() => void)[] = []
    server.intercept = (connection, { type, id }) => {
      if (type === 'submit') held.push(() => connection.refuse(id, 'board_full'))
      return type === 'submit'
    }
    void mine.submit(remove('a'))
    await settled()
    mine.undo()
    held[0]!()
    await settled()
    expect(ids(mine)).toEqual(['a'])
    expect(server.room(ROOM).log).toHaveLength(1)
    expect(mine.room.unanswered).toBe(0)
  })

  test('of properties sets them to what they were, with as few ops as will do', async () => {
    const { server, board } = scene()
    for (const [name, color] of [['a', '#111111'], ['b', '#222222'], ['c', '#222222']]) {
      server.somebody(ROOM, rectangle(name!, color))
    }
    const mine = await board()
    await mine.submit(
      { type: 'move', data: { elements: ['a', 'b'], offsets: [[5, 5], [6.1, 6]] } },
      { type: 'restyle', data: { elements: ['a', 'b', 'c'], color: '#ff0000', fill: '#ffff00', size: 3 } },
      { type: 'reorder', data: { elements: ['a'], z: [99] } },
      { type: 'change', data: { element: 'c', bounds: [1, 1, 2, 2], text: 'not of a rectangle' } },
    )
    const before = server.room(ROOM).log.length
    mine.undo()
    await settled()
    expect(server.room(ROOM).log.slice(before).map(({ op }) => op)).toEqual([
      { type: 'change', data: { element: 'c', bounds: [0, 0, 10, 10] } },
      { type: 'reorder', data: { elements: ['a'], z: [1] } },
      { type: 'restyle', data: { elements: ['a'], color: '#111111', fill: '#00000000' } },
      { type: 'restyle', data: { elements: ['b', 'c'], color: '#222222', fill: '#00000000' } },
      { type: 'move', data: { elements: ['a', 'b'], offsets: [[0, 0], [0, 0]] } },
    ])
    expect(mine.view('a')).toMatchObject({ color: '#111111', z: 1, bounds: [0, 0, 10, 10] })
    expect(mine.view('a')).not.toHaveProperty('offset')
    mine.redo()
    await settled()
    expect(mine.view('a')).toMatchObject({ color: '#ff0000', fill: '#ffff00', z: 99, offset: [5, 5] })
    expect(mine.view('b')).toMatchObject({ offset: [6, 6] })
    expect(mine.view('c')).toMatchObject({ bounds: [1, 1, 2, 2] })
  })

  test('of new points brings the pressure back', async () => {
    const { server, board } = scene()
    const pressed = stroke('a')
    server.somebody(ROOM, { ...pressed, data: { ...pressed.data, pressure: Uint8Array.of(1, 2) } } as BoardOp)
    const mine = await board()
    const before = mine.view('a')
    await mine.submit({ type: 'change', data: { element: 'a', points: toPoints([[0, 0]]) } })
    expect(mine.view('a')).not.toHaveProperty('pressure')
    mine.undo()
    await settled()
    expect(mine.view('a')).toEqual(before)
  })

  test('leaves alone what somebody else has changed since', async () => {
    const { server, board } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name, '#000000'))
    const mine = await board()
    await mine.submit(
      { type: 'restyle', data: { elements: ['a', 'b'], color: '#00ff00' } },
      { type: 'move', data: { elements: ['a'], offsets: [[5, 5]] } },
    )
    server.somebody(ROOM, recolor('a', '#ff0000'))
    await settled()
    mine.undo()
    await settled()
    expect([colorOf(mine, 'a'), colorOf(mine, 'b')]).toEqual(['#ff0000', '#000000'])
    expect(mine.view('a')).not.toHaveProperty('offset')
  })

  test('passes over steps of which nothing is left', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a', '#000000'))
    const mine = await board()
    await mine.submit(stroke('mine'))
    await mine.submit(recolor('a', '#00ff00'))
    server.somebody(ROOM, recolor('a', '#ff0000'))
    await settled()
    mine.undo()
    await settled()
    expect([ids(mine), colorOf(mine, 'a'), mine.canUndo]).toEqual([['a'], '#ff0000', false])
  })

  test('remembers over a reset what others changed in the dark', async () => {
    const { server, clock, board } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name, '#000000'))
    const mine = await board()
    await mine.submit({ type: 'restyle', data: { elements: ['a', 'b'], color: '#00ff00' } })
    server.reachable = false
    server.last.close(4000)
    await settled()
    server.somebody(ROOM, recolor('a', '#ff0000'))
    server.room(ROOM).bridgesFrom = 99
    server.reachable = true
    await clock.advance(1_000)
    mine.undo()
    await settled()
    expect([colorOf(mine, 'a'), colorOf(mine, 'b')]).toEqual(['#ff0000', '#000000'])
  })

  test('takes nothing for news that it had seen before a reset', async () => {
    const { server, clock, board } = scene()
    server.somebody(ROOM, rectangle('a', '#000000'))
    server.somebody(ROOM, recolor('a', '#ff0000'))
    const mine = await board()
    await mine.submit(recolor('a', '#00ff00'))
    server.room(ROOM).bridgesFrom = 99
    server.last.close(4000)
    await clock.advance(1_000)
    mine.undo()
    await settled()
    expect(colorOf(mine, 'a')).toBe('#ff0000')
  })

  test('is forgotten by what is done next, and bounded', async () => {
    const { clock, board } = scene()
    const mine = await board()
    for (let i = 0; i < 130; i++) void mine.submit(rectangle(`e${i}`))
    await clock.advance(5_000)
    let undone = 0
    for (; mine.canUndo; undone++) mine.undo()
    expect(undone).toBe(100)
    expect(mine.canRedo).toBe(true)
    void mine.submit(rectangle('new'))
    expect(mine.canRedo).toBe(false)
    await clock.advance(5_000)
    expect(ids(mine)).toHaveLength(31)
  })

  test('everything that was done can be undone and redone, alone', async () => {
    const { server, clock, board } = scene()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    const mine = await board()
    const pictures: Element[][] = []
    const picture = (): Element[] => structuredClone(mine.elements()) as Element[]
    const steps: BoardOp[][] = [
      [stroke('d')],
      [recolor('a', '#ff0000'), { type: 'move', data: { elements: ['d'], offsets: [[1, 1]] } }],
      [remove('b', 'd')],
      [{ type: 'restore', data: { deleted_by: 7 } }],
      [{ type: 'reorder', data: { elements: ['a', 'c'], z: [8, -8] } }],
      [{ type: 'clear', data: {} }],
      [stroke('e')],
    ]
    for (const ops of steps) {
      pictures.push(picture())
      await mine.submit(...ops)
    }
    pictures.push(picture())
    for (let i = steps.length - 1; i >= 0; i--) {
      mine.undo()
      await clock.advance(100)
      expect(mine.elements()).toEqual(pictures[i])
    }
    for (let i = 1; i <= steps.length; i++) {
      mine.redo()
      await clock.advance(100)
      expect(mine.elements()).toEqual(pictures[i])
    }
  })
})
