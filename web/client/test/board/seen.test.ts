import { describe, expect, test } from 'vitest'

import { Board } from '../../src/board.js'
import { toPairs } from '../../src/points.js'
import { ROOM, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { SOMEBODY } from '../support/fake-server.js'
import { changes, colorOf, ids, recolor, remove } from '../support/seen.js'

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
