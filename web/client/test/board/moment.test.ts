import { describe, expect, test } from 'vitest'

import { Board } from '../../src/board.js'
import { ROOM, scene } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { SOMEBODY } from '../support/fake-server.js'

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
