import { describe, expect, test } from 'vitest'

import { EnfiladeError } from '../../src/errors.js'
import { ROOM, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'

describe('own ops', () => {
  test('wait while offline and are sent in order, and the number of unanswered ones is told', async () => {
    const { server, clock, connect } = scene()
    server.reachable = false
    const room = connect().join(ROOM)
    const counts: number[] = []
    room.on('unanswered', (count) => counts.push(count))
    const results = ['a', 'b', 'c'].map((name) => room.submit(stroke(name)))
    await settled()
    expect([room.unanswered, counts.at(-1)]).toEqual([3, 3])
    server.reachable = true
    await clock.advance(1_000)
    expect(await Promise.all(results)).toEqual([1, 2, 3])
    expect(counts.at(-1)).toBe(0)
    expect(server.last.ofType('submit').map(({ op_id }) => op_id)).toEqual([1, 2, 3])
  })

  test('are resent unchanged under the same id after the join was answered, and applied once', async () => {
    const { server, clock, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    // The server applies both, but neither the answers nor the ops arrive.
    server.last.mute = true
    const results = ['a', 'b'].map((name) => room.submit(stroke(name)))
    await settled()
    // And a join that brings a snapshot does not show whose ops are in it.
    server.room(ROOM).bridgesFrom = 2
    for (const name of ['x', 'y', 'z']) server.somebody(ROOM, rectangle(name))
    server.last.close(4000)
    await clock.advance(1_000)
    expect(await Promise.all(results)).toEqual([1, 2])
    const [first, second] = server.connections.map((connection) => connection.ofType('submit'))
    expect(second).toEqual(first)
    const types = server.last.received.map(({ type }) => type)
    expect(types.indexOf('submit')).toBeGreaterThan(types.indexOf('join'))
    expect(server.room(ROOM).log).toHaveLength(5)
  })

  test('an op that comes back in the history needs no second try', async () => {
    const { server, clock, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    server.last.mute = true
    const result = room.submit(stroke('a'))
    await settled()
    server.last.close(4000)
    await clock.advance(1_000)
    await expect(result).resolves.toBe(1)
    expect(server.last.ofType('submit')).toEqual([])
  })

  test('a refusal rejects, and is told', async () => {
    const { server, connect } = scene()
    server.role = 'viewer'
    const room = connect().join(ROOM)
    const rejected: string[] = []
    room.on('rejected', ({ refusal }) => rejected.push(refusal.code))
    await expect(room.submit(stroke('a'))).rejects.toBeInstanceOf(EnfiladeError)
    expect(rejected).toEqual(['forbidden'])
    expect(room.unanswered).toBe(0)
  })

  test('an invitation to come again is followed under the same id, after the time it names', async () => {
    const { server, clock, connect } = scene()
    let tries = 0
    server.intercept = (connection, { type, id }) => {
      if (type !== 'submit' || tries++ > 0) return false
      connection.refuse(id, 'busy', 400)
      return true
    }
    const room = connect().join(ROOM)
    const result = room.submit(stroke('a'))
    await clock.advance(399)
    expect(server.last.ofType('submit')).toHaveLength(1)
    await clock.advance(1)
    await expect(result).resolves.toBe(1)
    const [first, second] = server.last.ofType('submit')
    expect(second).toEqual(first)
  })

  test('no more are on the wire than may be, and no more a second', async () => {
    const { server, clock, connect } = scene()
    server.limits = { ...server.limits, ops_in_flight: 10, ops_per_second: 100 }
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    const unanswered: (() => void)[] = []
    let most = 0
    server.intercept = (connection, message) => {
      if (message.type !== 'submit') return false
      const { op_id } = message.data
      unanswered.push(() => connection.reply(message.id, { type: 'accepted', data: { seq: op_id } } as never))
      most = Math.max(most, unanswered.length)
      return true
    }
    const sentAt: number[] = []
    const results = Array.from({ length: 300 }, (_, i) => room.submit(rectangle(`e${i}`)))
    const start = clock.now()
    for (let i = 0; i < 600 && room.unanswered > 0; i++) {
      await settled()
      const before = server.last.ofType('submit').length
      for (let j = sentAt.length; j < before; j++) sentAt.push(clock.now() - start)
      for (const answer of unanswered.splice(0)) answer()
      await clock.advance(10)
    }
    expect(await Promise.all(results)).toHaveLength(300)
    expect(most).toBe(10)
    // Never more than a second's worth at once and nine tenths of the rate thereafter.
    sentAt.forEach((at, i) => expect(i).toBeLessThanOrEqual(100 + (at * 90) / 1_000 + 10))
    expect(sentAt.at(-1)).toBeGreaterThan(2_000)
  })

  test('what does not fit into a frame is refused here', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    const points = Array.from({ length: 40_000 }, (_, i): [number, number] => [i % 2 ? 9_999 : 0, i])
    await expect(room.submit(stroke('a', points))).rejects.toMatchObject({ code: 'payload_too_large' })
    await expect(room.submit(stroke('b'))).resolves.toBe(1)
    expect(server.open).toHaveLength(1)
  })

  test('what cannot be written is refused here', async () => {
    const { connect } = scene()
    const room = connect().join(ROOM)
    const odd = { ...stroke('a'), data: { ...stroke('a').data, points: Float32Array.of(Number.NaN, 1) } } as never
    await expect(room.submit(odd)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  test('a server that lost the membership is joined again', async () => {
    const { server, clock, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    server.last.joined.clear()
    const result = room.submit(stroke('a'))
    await clock.advance(1_000)
    await expect(result).resolves.toBe(1)
  })

  test('messages of one turn share a frame', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    server.last.frames.length = 0
    for (let i = 0; i < 20; i++) void room.submit(rectangle(`e${i}`))
    room.signal('cursor', { x: 1, y: 1 })
    await settled()
    expect(server.last.frames[0]).toBeGreaterThanOrEqual(20)
  })
})
