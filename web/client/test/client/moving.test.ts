import { describe, expect, test } from 'vitest'

import type { Json } from '../../src/types.js'
import { OTHER_ROOM, ROOM, history, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { SOMEBODY } from '../support/fake-server.js'

describe('make before break', () => {
  test('the application sees no gap, and no op is lost or doubled', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    const other = client.join(OTHER_ROOM)
    const seen = history(room)
    await settled()
    const statuses: string[] = []
    const states: string[] = []
    client.on('status', (status) => statuses.push(status))
    room.on('state', (state) => states.push(state))
    const [first] = server.connections
    first!.send({ type: 'reconnect', data: { after_ms: 500, resume: `resume-${client.user!.id}` } })
    await settled()
    // This one is taken in, but its answer never comes.
    server.intercept = (connection, message) => {
      if (connection !== first || message.type !== 'submit') return false
      const { op_id, op } = message.data
      server.room(ROOM).answers.set(`${client.id} ${op_id}`, 1)
      server.append(ROOM, { author: client.user!.id, client: client.id!, op_id, op })
      return true
    }
    first!.mute = true
    const result = room.submit(stroke('mine'))
    await clock.advance(499)
    expect(server.connections).toHaveLength(1)
    await clock.advance(1)
    expect(server.connections).toHaveLength(2)
    expect(server.last.ofType('hello')[0]).toMatchObject({ client: client.id, resume: `resume-${client.user!.id}` })
    expect(server.last.ofType('join')).toHaveLength(2)
    expect(first!.closed).toBe(true)
    await expect(result).resolves.toBe(1)
    server.somebody(ROOM, rectangle('theirs'))
    await settled()
    expect([...seen]).toEqual([[1, 'mine'], [2, 'theirs']])
    expect([statuses, states, other.state]).toEqual([[], [], 'joined'])
    await expect(room.submit(stroke('later'))).resolves.toBe(3)
  })

  test('the first connection serves until the second has answered every join', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    const seen = history(room)
    await settled()
    const [first] = server.connections
    const held: (() => void)[] = []
    server.intercept = (connection, message) => {
      if (connection === first || message.type !== 'join' || held.length > 0) return false
      held.push(() => connection.take(connection.codec.encode(message).body))
      return true
    }
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect([server.connections.length, held.length]).toEqual([2, 1])
    server.somebody(ROOM, rectangle('a'))
    await expect(room.submit(stroke('b'))).resolves.toBe(2)
    expect(first!.closed).toBe(false)
    held[0]!()
    await settled()
    expect(first!.closed).toBe(true)
    expect([...seen]).toEqual([[1, 'a'], [2, 'b']])
    expect(client.status).toBe('online')
  })

  test('what the first has not answered is sent on the second before the first is closed', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    const [first] = server.connections
    first!.send({ type: 'reconnect', data: { after_ms: 100, resume: `resume-${client.user!.id}` } })
    await settled()
    first!.deaf = true
    const results = ['a', 'b'].map((name) => room.submit(stroke(name)))
    await clock.advance(100)
    expect(await Promise.all(results)).toEqual([1, 2])
    expect(server.last.ofType('submit').map(({ op_id }) => op_id)).toEqual([1, 2])
  })

  test('what the first refuses after an op has moved does not count', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    client.join(OTHER_ROOM)
    await settled()
    const [first] = server.connections
    const held: Record<'first' | 'second', number[]> = { first: [], second: [] }
    server.intercept = (connection, { type, id, data }) => {
      if (type === 'submit') held[connection === first ? 'first' : 'second'].push(id!)
      return type === 'submit' || (connection !== first && type === 'join' && (data as { room: string }).room === OTHER_ROOM)
    }
    const result = room.submit(stroke('a'))
    await settled()
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect([held.first.length, held.second.length, first!.closed]).toEqual([1, 1, false])
    first!.refuse(held.first[0], 'not_joined')
    await settled()
    expect([room.state, room.unanswered]).toEqual(['joined', 1])
    server.last.reply(held.second[0], { type: 'accepted', data: { seq: 1 } } as never)
    await expect(result).resolves.toBe(1)
  })

  test('a room that has moved hears from the second alone, a room that comes in between goes there', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    client.join(OTHER_ROOM)
    const heard: Json[] = []
    room.on('signals', (signals) => heard.push(...signals.map(({ body }) => body)))
    await settled()
    const [first] = server.connections
    server.intercept = (connection, { type, data }) =>
      connection !== first && type === 'join' && (data as { room: string }).room === OTHER_ROOM
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    const second = server.last
    expect([first!.closed, second.joined.has(ROOM)]).toEqual([false, true])
    for (const connection of [first!, second]) connection.signal(ROOM, 'cursor', connection === first ? 1 : 2)
    const third = client.join(SOMEBODY)
    await settled()
    expect(heard).toEqual([2])
    expect([third.state, second.joined.has(SOMEBODY)]).toEqual(['joined', true])
    // The second fails after all: what has moved there moves back.
    second.close(4000)
    await settled()
    expect([first!.closed, room.state, third.state, client.status]).toEqual([false, 'joined', 'joined', 'online'])
    expect(first!.joined.has(SOMEBODY)).toBe(true)
    await expect(room.submit(stroke('a'))).resolves.toBe(1)
  })

  test('when the second cannot be made, the first is kept and another second is tried', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    server.reachable = false
    server.last.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(1_000)
    expect(client.status).toBe('online')
    await expect(room.submit(stroke('a'))).resolves.toBe(1)
    server.reachable = true
    await clock.advance(30_000)
    expect([server.connections.length, server.open.length, client.status]).toEqual([2, 1, 'online'])
    await expect(room.submit(stroke('b'))).resolves.toBe(2)
  })

  test('when the first ends too early, the second takes over', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    const statuses: string[] = []
    client.on('status', (status) => statuses.push(status))
    const [first] = server.connections
    server.intercept = (connection, { type }) => {
      if (connection !== first && type === 'join' && !first!.closed) first!.close(4100, 'drained')
      return false
    }
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect(statuses).toEqual([])
    expect(room.state).toBe('joined')
    await expect(room.submit(stroke('a'))).resolves.toBe(1)
    expect(server.connections).toHaveLength(2)
  })

  test('a room that the second asks to wait stays on the first until it is let in', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    client.join(OTHER_ROOM)
    await settled()
    const states: string[] = []
    room.on('state', (state) => states.push(state))
    const [first] = server.connections
    let refusals = 0
    server.intercept = (connection, { type, id, data }) => {
      if (connection === first || type !== 'join' || (data as { room: string }).room !== ROOM || refusals === 2) return false
      refusals++
      connection.refuse(id, 'room_unavailable')
      return true
    }
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect([refusals, first!.closed]).toEqual([1, false])
    await expect(room.submit(stroke('a'))).resolves.toBe(1)
    await clock.advance(2_000)
    expect([refusals, first!.closed, server.last.joined.has(ROOM)]).toEqual([2, true, true])
    expect([states, client.status]).toEqual([[], 'online'])
    await expect(room.submit(stroke('b'))).resolves.toBe(2)
  })

  test('a room that is left while it was asked to wait does not hold up the others', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    client.join(OTHER_ROOM)
    await settled()
    const [first] = server.connections
    server.intercept = (connection, { type, id, data }) => {
      if (connection === first || type !== 'join' || (data as { room: string }).room !== ROOM) return false
      connection.refuse(id, 'room_unavailable')
      return true
    }
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect(first!.closed).toBe(false)
    room.leave()
    await settled()
    expect(first!.closed).toBe(true)
  })

  test('a room that is left meanwhile does not hold up the others', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    client.join(OTHER_ROOM)
    await settled()
    const [first] = server.connections
    server.intercept = (connection, { type, data }) => {
      if (connection === first || type !== 'join' || (data as { room: string }).room !== ROOM) return false
      room.leave()
      return true
    }
    first!.send({ type: 'reconnect', data: { after_ms: 0, resume: `resume-${client.user!.id}` } })
    await clock.advance(10)
    expect(first!.closed).toBe(true)
    expect(client.status).toBe('online')
  })
})
