import { describe, expect, test } from 'vitest'

import { Board } from '../src/board.js'
import { toPairs, toPoints } from '../src/points.js'
import type { BoardOp, Element } from '../src/types.js'
import { ROOM, rectangle, scene, stroke } from './support/arrange.js'
import { settled } from './support/fake-clock.js'
import { SOMEBODY } from './support/fake-server.js'

const ids = (board: Board): string[] => board.elements().map(({ element }) => element)
const colorOf = (board: Board, id: string): string | undefined => board.view(id)?.color
const recolor = (element: string, color: string): BoardOp => ({ type: 'restyle', data: { elements: [element], color } })
const remove = (...elements: string[]): BoardOp => ({ type: 'delete', data: { elements } })

/** The ids of every change that was told of. */
function changes(board: Board): string[][] {
  const all: string[][] = []
  board.on('change', ({ all: everything, ids }) => all.push(everything ? ['*'] : [...ids].sort()))
  return all
}

describe('what is seen', () => {
  test('is what the room has, the lowest first, and not what was deleted', async () => {
    const { server, board } = scene()
    for (const name of ['a', 'b', 'c', 'd']) server.somebody(ROOM, rectangle(name))
    server.somebody(ROOM, remove('b'))
    server.somebody(ROOM, { type: 'reorder', data: { elements: ['a', 'd'], z: [3, 0] } })
    const seen = await board()
    expect(ids(seen)).toEqual(['d', 'a', 'c'])
    expect(seen.view('b')).toBeUndefined()
    expect(seen.loaded).toBe(true)
    server.somebody(ROOM, { type: 'restore', data: { deleted_by: 5 } })
    await settled()
    expect(ids(seen)).toEqual(['d', 'b', 'a', 'c'])
  })

  test('has own ops at once, and says what to repaint', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    const told = changes(mine)
    server.last.deaf = true
    void mine.submit(stroke('b'))
    void mine.submit(recolor('a', '#FF0000FF'))
    expect(ids(mine)).toEqual(['a', 'b'])
    expect(colorOf(mine, 'a')).toBe('#ff0000')
    expect(mine.view('b')).toMatchObject({ author: mine.room.host.user!.id, z: 2 })
    expect([mine.isPending('a'), mine.isPending('b')]).toEqual([true, true])
    expect(told).toEqual([['b'], ['a']])
  })

  test('does not change when own ops are confirmed as they were', async () => {
    const { board } = scene()
    const mine = await board()
    const told = changes(mine)
    await mine.submit(stroke('a'))
    await settled()
    expect(told).toEqual([['a']])
    expect(mine.isPending('a')).toBe(false)
  })

  test('has the form in which the server keeps it', async () => {
    const { server, board } = scene()
    const mine = await board()
    server.intercept = (connection, message) => {
      if (message.type !== 'submit') return false
      const { op_id } = message.data
      const simpler = stroke('a', [[0, 0], [9, 9]])
      server.append(ROOM, { author: connection.user!.id, client: connection.client!, op_id, op: simpler })
      return true
    }
    const told = changes(mine)
    await mine.submit(stroke('a', [[0.1, 0], [4.4, 4.4], [9, 9]]))
    expect(told).toEqual([['a'], ['a']])
    expect(toPairs((mine.view('a') as { points: Float32Array }).points)).toEqual([[0, 0], [9, 9]])
  })

  test('own ops stay on top of what others do', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a', '#000000'))
    const mine = await board()
    server.intercept = (_, { type }) => type === 'submit'
    void mine.submit(recolor('a', '#00ff00'))
    void mine.submit(stroke('mine'))
    await settled()
    const told = changes(mine)
    server.somebody(ROOM, recolor('a', '#ff0000'))
    server.somebody(ROOM, rectangle('theirs'))
    await settled()
    expect(colorOf(mine, 'a')).toBe('#00ff00')
    expect(ids(mine)).toEqual(['a', 'theirs', 'mine'])
    // What lies beneath the own colour is not to be seen.
    expect(told.flat()).not.toContain('a')
  })

  test('own ops stay on top of a snapshot', async () => {
    const { server, board } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
    const mine = await board()
    server.intercept = (_, { type }) => type === 'submit'
    void mine.submit({ type: 'clear', data: {} })
    void mine.submit(stroke('mine'))
    await settled()
    const log = server.room(ROOM).log
    for (const name of ['x', 'y', 'z']) log.push({ ...log[0]!, op: rectangle(name) })
    const data = { room: ROOM, position: { epoch: 3, seq: 5 }, snapshot: server.state(ROOM).snapshot() }
    server.last.send({ type: 'reset', data })
    await settled()
    expect(ids(mine)).toEqual(['mine'])
    expect(mine.view('mine')!.z).toBeGreaterThan(5)
    server.somebody(ROOM, rectangle('later'))
    await settled()
    expect(ids(mine)).toEqual(['mine'])
  })

  test('a refused op is seen no more', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a', '#000000'))
    const mine = await board()
    server.intercept = (connection, { type, id }) => {
      if (type === 'submit') connection.refuse(id, 'board_full')
      return type === 'submit'
    }
    const rejected: string[] = []
    mine.on('rejected', ({ op, error }) => rejected.push(`${op.type} ${error.code}`))
    await expect(mine.submit(recolor('a', '#00ff00'), stroke('b'))).rejects.toMatchObject({ code: 'board_full' })
    expect(rejected).toEqual(['restyle board_full', 'add_stroke board_full'])
    expect([ids(mine), colorOf(mine, 'a'), mine.canUndo]).toEqual([['a'], '#000000', false])
  })

  test('an op without a meaning is refused before anything happens', async () => {
    const { board } = scene()
    const mine = await board()
    await expect(mine.submit(stroke('b'), stroke('a', [[Number.NaN, 0]]))).rejects.toMatchObject({ code: 'invalid_op' })
    expect(ids(mine)).toEqual([])
  })

  test('a snapshot that has own ops in it takes their place', async () => {
    const { server, clock, board } = scene()
    const mine = await board()
    server.last.mute = true
    const result = mine.submit(stroke('a'))
    await settled()
    server.room(ROOM).bridgesFrom = 9
    for (let i = 0; i < 5; i++) server.somebody(ROOM, rectangle(`x${i}`))
    server.last.close(4000)
    await clock.advance(1_000)
    await expect(result).resolves.toBe(1)
    expect(mine.isPending('a')).toBe(false)
    expect(ids(mine)).toEqual(['a', 'x0', 'x1', 'x2', 'x3', 'x4'])
  })

  test('an accepted op is seen until the room has it, by whatever way', async () => {
    const { server, board } = scene()
    server.somebody(ROOM, rectangle('a'))
    const mine = await board()
    // The answers come, the ops do not.
    server.intercept = (connection, message) => {
      if (message.type !== 'submit') return false
      const { op_id, op } = message.data
      server.room(ROOM).log.push({ author: connection.user!.id, client: connection.client!, op_id, at: 0, op })
      connection.reply(message.id, { type: 'accepted', data: { seq: server.room(ROOM).log.length } } as never)
      return true
    }
    await mine.submit(stroke('b'))
    expect([mine.isPending('b'), mine.room.unanswered]).toEqual([true, 0])
    const unheard = { author: SOMEBODY, client: SOMEBODY, op_id: 1, at: 0, op: rectangle('x') }
    server.room(ROOM).log.push(unheard)
    await mine.submit(remove('a'))
    expect(ids(mine)).toEqual(['b'])
    mine.undo()
    expect(ids(mine)).toEqual(['a', 'b'])
    await settled()
    const snapshot = server.state(ROOM).snapshot()
    server.last.send({ type: 'reset', data: { room: ROOM, position: { epoch: 3, seq: 5 }, snapshot } })
    await settled()
    expect([mine.isPending('a'), mine.isPending('b')]).toEqual([false, false])
    expect(ids(mine)).toEqual(['a', 'b', 'x'])
  })

  test('a board over a room that is joined already fetches what it missed', async () => {
    const { server, connect } = scene()
    server.somebody(ROOM, rectangle('a'))
    const room = connect().join(ROOM)
    await settled()
    server.last.deaf = true
    void room.submit(stroke('b'))
    server.last.deaf = false
    const late = new Board(room)
    expect(ids(late)).toEqual(['b'])
    await settled()
    expect(ids(late)).toEqual(['a', 'b'])
  })

  test('shows a cache at once, and only what is new is sent', async () => {
    const { server, clock, connect, board } = scene()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    const first = await board()
    const cached = structuredClone(first.cache()!)
    first.close()
    server.somebody(ROOM, rectangle('d'))
    const again = new Board(connect().join(ROOM, { cached }))
    expect(ids(again)).toEqual(['a', 'b', 'c'])
    await clock.advance(0)
    expect(ids(again)).toEqual(['a', 'b', 'c', 'd'])
    expect(server.last.ofType('join')[0]!.since).toEqual({ epoch: 3, seq: 3 })
  })

  test('made late, does not take an old cache for the truth', async () => {
    const { server, connect } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
    const cached = { position: { epoch: 3, seq: 0 }, snapshot: { seq: 0, elements: [] } }
    const room = connect().join(ROOM, { cached })
    await settled()
    const late = new Board(room)
    await settled()
    expect(ids(late)).toEqual(['a', 'b'])
  })

  test('thousands of elements stay in order', async () => {
    const { server, board } = scene()
    const mine = await board()
    const expected = (): string[] =>
      server
        .elements(ROOM)
        .filter(({ deleted_by }) => deleted_by === undefined)
        .sort((a, b) => a.z - b.z)
        .map(({ element }) => element)
    const names = Array.from({ length: 2_000 }, (_, i) => `e${(i * 7_919) % 2_000}`)
    for (const name of names) server.somebody(ROOM, rectangle(name))
    await settled()
    server.somebody(ROOM, { type: 'reorder', data: { elements: names.slice(0, 900), z: names.slice(0, 900).map((_, i) => -i) } })
    server.somebody(ROOM, remove(...names.slice(100, 150)))
    server.somebody(ROOM, remove(...names.slice(500, 1_200)))
    await settled()
    expect(ids(mine)).toEqual(expected())
    expect(ids(mine)).toHaveLength(1_250)
  })
})

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

describe('the moment', () => {
  test('a pen shows the stroke while it grows, and submits it when it lifts', async () => {
    const { server, clock, connect, board } = scene()
    const mine = await board()
    const [first] = server.connections
    const theirs = new Board(connect({ credentials: () => ({ guest: { name: 'Bob' } }) }).join(ROOM))
    await settled()
    // What one says, the others hear.
    server.intercept = (connection, message) => {
      if (message.type === 'signal') {
        const { key, body, room } = message.data
        const heard = { author: connection.user!.id, client: connection.client!, key, body }
        for (const other of server.open) other.send({ type: 'signals', data: { room, signals: [heard] } })
        server.last.send({
          type: 'presence',
          data: { room, count: 2, joined: [{ id: connection.user!.id, name: 'Ada', role: 'editor' }] },
        })
      }
      return message.type === 'signal'
    }
    const live: string[][] = []
    theirs.on('live', (ids) => live.push([...ids]))
    const pen = mine.pen({ color: '#1a1a1a', width: 4, element: 's' })
    for (let x = 0; x < 10; x++) {
      pen.add(x, x, 100 + x)
      await clock.advance(20)
    }
    await clock.advance(40)
    const pieces = first!.ofType('signal')
    expect(pieces.length).toBeGreaterThan(4)
    expect(pieces.length).toBeLessThan(8)
    expect(new Set(pieces.map(({ key }) => key)).size).toBe(pieces.length)
    expect(theirs.live.get('s')).toMatchObject({ author: mine.room.host.user!.id, color: '#1a1a1a', width: 4 })
    expect(theirs.live.get('s')!.points).toEqual(pen.points)
    expect(theirs.live.get('s')!.pressure).toEqual(pen.pressure)
    expect(mine.live.size).toBe(0)
    // A pen that rests gives a sign of life.
    await clock.advance(20_000)
    expect(theirs.live.size).toBe(1)
    await pen.finish()
    await settled()
    expect(theirs.live.size).toBe(0)
    expect(theirs.view('s')).toEqual(mine.view('s'))
    expect(live.flat().every((id) => id === 's')).toBe(true)
    await clock.advance(1_000)
    const sent = first!.ofType('signal').length
    await clock.advance(10_000)
    expect(first!.ofType('signal')).toHaveLength(sent)
  })

  test('a stroke that is taken back is told of', async () => {
    const { server, clock, board } = scene()
    const mine = await board()
    const pen = mine.pen({ color: '#1a1a1a', width: 4 })
    pen.add(1, 1)
    await clock.advance(40)
    pen.cancel()
    pen.add(2, 2)
    await clock.advance(100)
    const bodies = server.last.ofType('signal').map(({ body }) => body)
    expect(bodies).toEqual([
      expect.objectContaining({ element: pen.element, at: 0, points: [8, 8] }),
      { element: pen.element, cancel: true },
    ])
    expect(server.room(ROOM).log).toEqual([])
  })

  test('strokes and cursors of those who left, or fell silent, are gone', async () => {
    const { server, clock, board } = scene()
    const mine = await board()
    const piece = { element: 's', color: '#1a1a1a', width: 4, at: 0, points: [0, 0] }
    const bob = { id: SOMEBODY, name: 'Bob', role: 'editor' as const }
    const me = { id: mine.room.host.user!.id, name: 'Ada', role: 'editor' as const }
    server.last.send({ type: 'presence', data: { room: ROOM, count: 2, members: [me, bob] } })
    server.last.signal(ROOM, 'stroke.0', piece)
    server.last.signal(ROOM, 'cursor', { x: 3, y: 4 })
    await settled()
    expect([mine.live.size, mine.cursors.size]).toEqual([1, 1])
    // Whoever draws at this moment is there, even if a list of the people lacks them.
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, members: [me] } })
    await settled()
    expect(mine.live.size).toBe(1)
    await clock.advance(2_001)
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, left: [SOMEBODY] } })
    await settled()
    expect([mine.live.size, mine.cursors.size]).toEqual([0, 0])
    server.last.signal(ROOM, 'stroke.1', { ...piece, element: 't' })
    server.last.signal(ROOM, 'cursor', { x: 3, y: 4 })
    let cursors = 0
    mine.on('cursors', () => cursors++)
    await settled()
    await clock.advance(10_000)
    expect([mine.live.size, mine.cursors.size]).toEqual([0, 1])
    server.last.ping()
    await clock.advance(21_000)
    expect([mine.cursors.size, cursors]).toEqual([0, 2])
  })

  test('the pointer is told at most once a tick, the last place for sure', async () => {
    const { server, clock, board } = scene()
    const mine = await board()
    for (let x = 0; x <= 100; x++) {
      mine.cursor({ x, y: 0.1 })
      await clock.advance(2)
    }
    await clock.advance(100)
    mine.cursor(null)
    await clock.advance(100)
    const bodies = server.last.ofType('signal').map(({ body }) => body)
    expect(bodies.length).toBeLessThanOrEqual(8)
    expect(bodies.slice(-2)).toEqual([{ x: 100, y: 0 }, null])
  })

  test('closing lifts the pen and leaves', async () => {
    const { server, clock, board } = scene()
    const mine = await board()
    mine.pen({ color: '#1a1a1a', width: 4, element: 's' }).add(1, 1)
    mine.close()
    await clock.advance(1_000)
    expect(server.elements(ROOM).map(({ element }) => element)).toEqual(['s'])
    expect(server.last.joined.size).toBe(0)
  })
})
