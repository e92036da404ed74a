import { describe, expect, test } from 'vitest'

import { EnfiladeError } from '../src/errors.js'
import type { Room } from '../src/room.js'
import type { Json, LoggedOp, Position } from '../src/types.js'
import { OTHER_ROOM, ROOM, rectangle, scene, stroke } from './support/arrange.js'
import { settled } from './support/fake-clock.js'
import { fakeToken, SOMEBODY, SOMEBODYS_CLIENT } from './support/fake-server.js'

/** The names of the elements that a room was told of, by seq. */
function history(room: Room): Map<number, string> {
  const seen = new Map<number, string>()
  room.on('ops', ({ firstSeq, ops }) => {
    ops.forEach(({ op }: LoggedOp, i) => {
      expect(seen.has(firstSeq + i)).toBe(false)
      seen.set(firstSeq + i, (op.data as { element: string }).element)
    })
  })
  return seen
}

const logged = (element: string, op_id: number): Omit<LoggedOp, 'at'> => ({
  author: SOMEBODY,
  client: SOMEBODYS_CLIENT,
  op_id,
  op: rectangle(element),
})

describe('connecting', () => {
  test('says hello, joins and tells what it learned', async () => {
    const { server, connect } = scene()
    server.somebody(ROOM, rectangle('a'))
    const client = connect()
    const statuses: string[] = []
    client.on('status', (status) => statuses.push(status))
    const room = client.join(ROOM, { link: 'secret' })
    const resets: unknown[] = []
    room.on('reset', (reset) => resets.push(reset))
    expect([client.status, room.state, room.position]).toEqual(['connecting', 'joining', null])
    await settled()
    expect(client.user).toMatchObject({ name: 'Ada', guest: true })
    expect(statuses).toEqual(['online'])
    expect(server.last.ofType('join')).toEqual([{ room: ROOM, link: 'secret' }])
    expect(room).toMatchObject({ state: 'joined', kind: 'board', title: 'Sketches', role: 'editor', unanswered: 0 })
    expect(room.position).toEqual<Position>({ epoch: 3, seq: 1 })
    expect(room.presence).toMatchObject({ count: 1 })
    expect(resets).toHaveLength(1)
  })

  test('speaks JSON when asked to', async () => {
    const { server, connect } = scene()
    const room = connect({ codec: 'json' }).join(ROOM)
    await expect(room.submit(stroke('a'))).resolves.toBe(1)
    expect(server.last.codec.name).toBe('json')
    expect(server.elements(ROOM)).toHaveLength(1)
  })

  test('joining again gives the same room', async () => {
    const { server, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    expect(client.join(ROOM.toUpperCase())).toBe(room)
    await settled()
    expect(server.last.ofType('join')).toHaveLength(1)
  })

  test('keeps its client id and its person over reconnects, and asks for what it missed', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    const seen = history(room)
    await settled()
    const before = { id: client.id, user: client.user }
    server.somebody(ROOM, rectangle('a'))
    await settled()
    server.last.close(4000)
    await settled()
    expect([client.status, room.state]).toEqual(['offline', 'joining'])
    server.somebody(ROOM, rectangle('b'))
    await clock.advance(30_000)
    expect(client.status).toBe('online')
    const [hello] = server.last.ofType('hello')
    expect(hello).toMatchObject({ client: before.id, resume: `resume-${before.user!.id}`, guest: { name: 'Ada' } })
    expect(server.last.ofType('join')).toEqual([{ room: ROOM, since: { epoch: 3, seq: 1 } }])
    expect({ id: client.id, user: client.user }).toEqual(before)
    expect([...seen]).toEqual([[1, 'a'], [2, 'b']])
  })

  test('tries again with growing jitter while there is no server', async () => {
    const { server, clock, connect } = scene()
    server.reachable = false
    const client = connect()
    await settled()
    expect(client.status).toBe('offline')
    // With chance at one half: 250, 500, 1000, … up to 15 s.
    await clock.advance(250 + 500 + 1_000 + 2_000 - 1)
    server.reachable = true
    expect(server.connections).toHaveLength(0)
    await clock.advance(1)
    expect(client.status).toBe('online')
  })

  test('a server that never answers is given up', async () => {
    const { server, clock, connect } = scene()
    server.intercept = (connection) => server.connections.length === 1 && connection === server.connections[0]
    const client = connect()
    await clock.advance(9_999)
    expect(client.status).toBe('connecting')
    await clock.advance(1_000)
    expect(client.status).toBe('online')
    expect(server.connections).toHaveLength(2)
  })

  test('silence for a ping and ten seconds is a lost connection; any message is a sign of life', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    await settled()
    const [first] = server.connections
    await clock.advance(34_000)
    first!.ping()
    await clock.advance(34_999)
    expect(client.status).toBe('online')
    expect(first!.ofType('pong')).toHaveLength(1)
    await clock.advance(1)
    expect(client.status).toBe('offline')
    await clock.advance(1_000)
    expect([client.status, server.connections.length]).toEqual(['online', 2])
    expect(first!.closed).toBe(true)
  })

  test('credentials that cannot be had are asked for again', async () => {
    const { clock, connect, errors } = scene()
    let asked = 0
    const client = connect({
      credentials: async () => {
        if (asked++ === 0) throw new Error('no network')
        return { guest: { name: 'Ada' } }
      },
    })
    await clock.advance(1_000)
    expect(client.status).toBe('online')
    expect(errors.map(({ code, message }) => [code, message])).toEqual([['unreachable', 'no network']])
  })

  test('frames that cannot be read are told of and skipped', async () => {
    const { server, connect, errors } = scene()
    const client = connect()
    await settled()
    server.last.wire.deliver(Uint8Array.of(0xc1))
    await settled()
    expect(errors.map(({ code }) => code)).toEqual(['malformed_frame'])
    expect(client.status).toBe('online')
  })

  test('an error that answers nothing is told of', async () => {
    const { server, connect, errors } = scene()
    connect()
    await settled()
    server.last.refuse(undefined, 'rate_limited', 100)
    await settled()
    expect(errors[0]).toMatchObject({ code: 'rate_limited', retryAfterMs: 100 })
  })

  test('a page that is looked at again, or is back online, tries at once', async () => {
    const page = new EventTarget()
    const globals = globalThis as Record<string, unknown>
    globals.document = Object.assign(page, { visibilityState: 'visible' })
    try {
      const { server, clock, connect } = scene()
      server.reachable = false
      const client = connect()
      await clock.advance(60_000)
      server.reachable = true
      page.dispatchEvent(new Event('visibilitychange'))
      await settled()
      expect(client.status).toBe('online')
      // Now the connection looks alive, but is not: a check finds out within five seconds.
      client.join(ROOM)
      await settled()
      server.last.mute = true
      page.dispatchEvent(new Event('visibilitychange'))
      await clock.advance(4_999)
      expect(client.status).toBe('online')
      await clock.advance(1)
      expect(client.status).toBe('offline')
    } finally {
      delete globals.document
    }
  })
})

describe('the end of a connection', () => {
  test('4500 and beyond is for good', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    server.last.deaf = true
    const lost = room.submit(stroke('a'))
    const ends: unknown[] = []
    client.on('closed', (end) => ends.push(end))
    server.last.close(4501, 'signed_out')
    await clock.advance(120_000)
    expect(client.status).toBe('closed')
    expect(client.closeReason).toEqual({ code: 4501, reason: 'signed_out' })
    expect(ends).toEqual([client.closeReason])
    expect(server.connections).toHaveLength(1)
    await expect(lost).rejects.toMatchObject({ code: 'closed' })
    await expect(room.submit(stroke('b'))).rejects.toMatchObject({ code: 'closed' })
    expect(client.join(OTHER_ROOM).state).toBe('left')
    expect(clock.pending).toBe(0)
  })

  test('what was announced counts when a proxy has lost the code', async () => {
    const { server, connect } = scene()
    const client = connect()
    await settled()
    server.last.send({ type: 'closing', data: { code: 4502, reason: 'access_revoked' } })
    server.last.close(1006)
    await settled()
    expect(client.closeReason).toEqual({ code: 4502, reason: 'access_revoked' })
  })

  test('4100 reconnects at once', async () => {
    const { server, connect } = scene()
    const client = connect()
    await settled()
    const statuses: string[] = []
    client.on('status', (status) => statuses.push(status))
    server.last.close(4100, 'drained')
    await settled()
    expect(statuses).toEqual(['connecting', 'online'])
  })

  test('4200 asks for fresh credentials first', async () => {
    const { server, clock, connect } = scene()
    const tokens = ['one', 'two'].map((sub) => fakeToken(SOMEBODY.replace('9', sub === 'one' ? '9' : '8'), clock.now() + 600_000))
    let asked = 0
    const client = connect({ credentials: () => ({ token: tokens[asked++]! }) })
    await settled()
    server.last.close(4200, 'token_expired')
    await settled()
    expect(asked).toBe(2)
    // The token of the second login, and no resume token that is as old as the first.
    expect(server.last.ofType('hello')).toMatchObject([{ client: client.id, token: tokens[1] }])
    expect(client.status).toBe('online')
  })

  test('4300 drops what is known of the rooms', async () => {
    const { server, clock, connect } = scene()
    server.somebody(ROOM, rectangle('a'))
    const room = connect().join(ROOM)
    let resets = 0
    room.on('reset', () => resets++)
    await settled()
    server.last.close(4300, 'state_invalid')
    await clock.advance(1_000)
    expect(server.last.ofType('join')).toEqual([{ room: ROOM }])
    expect(resets).toBe(2)
  })

  test('a close after hello is not answered with a storm', async () => {
    const { server, clock, connect } = scene()
    server.intercept = (connection, { type }) => {
      if (type === 'hello') connection.close(4100, 'drained')
      return type === 'hello'
    }
    connect()
    await clock.advance(10_000)
    expect(server.connections.length).toBeLessThan(8)
  })

  test('a refused hello is the end only if the credentials were fresh', async () => {
    const { server, clock, connect } = scene()
    let asked = 0
    const client = connect({
      credentials: () => {
        asked++
        return { guest: { name: 'Ada' } }
      },
    })
    await settled()
    server.intercept = (connection, { type, id }) => {
      if (type !== 'hello') return false
      connection.refuse(id, 'unauthenticated')
      connection.close(4500, 'unauthenticated')
      return true
    }
    server.last.close(4000)
    await clock.advance(60_000)
    expect(asked).toBe(2)
    expect(server.connections).toHaveLength(3)
    expect(client.closeReason).toEqual({ code: 4500, reason: 'unauthenticated' })
  })

  test('a server that is too busy for a hello is asked later', async () => {
    const { server, clock, connect } = scene()
    server.intercept = (connection, { type, id }) => {
      if (type !== 'hello' || server.connections.length > 1) return false
      connection.refuse(id, 'busy', 3_000)
      connection.close(4003, 'overloaded')
      return true
    }
    const client = connect()
    await clock.advance(2_999)
    expect(server.connections).toHaveLength(1)
    await clock.advance(1)
    expect(client.status).toBe('online')
  })
})

describe('a room', () => {
  test('hands on every op once and in order, whatever comes twice', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    server.last.tellOps(server.room(ROOM), 2)
    server.last.tellOps(server.room(ROOM), 1)
    server.last.send({ type: 'ops', data: { room: ROOM, epoch: 3, first_seq: 1, ops: server.room(ROOM).log.slice(0, 1) } })
    await settled()
    expect(room.position?.seq).toBe(3)
    server.somebody(ROOM, rectangle('d'))
    await settled()
    expect([...seen]).toEqual([[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']])
    expect(server.last.ofType('join')).toHaveLength(1)
  })

  test('a gap makes it ask for what it missed', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    server.room(ROOM).log.push({ ...logged('a', 1), at: 0 })
    server.somebody(ROOM, rectangle('b'))
    await settled()
    expect(server.last.ofType('join')[1]).toEqual({ room: ROOM, since: { epoch: 3, seq: 0 } })
    expect([...seen]).toEqual([[1, 'a'], [2, 'b']])
  })

  test('the heads of a ping show a loss', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    server.room(ROOM).log.push({ ...logged('a', 1), at: 0 })
    server.last.ping()
    server.last.ping()
    await settled()
    expect([...seen]).toEqual([[1, 'a']])
    expect(server.last.ofType('join')).toHaveLength(2)
    server.last.ping()
    await settled()
    expect(server.last.ofType('join')).toHaveLength(2)
  })

  test('a reset starts over', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const events: string[] = []
    room.on('reset', ({ snapshot }) => events.push(`reset ${snapshot?.seq}`))
    room.on('ops', ({ firstSeq, ops }) => events.push(`ops ${firstSeq} ${ops.length}`))
    await settled()
    const log = Array.from({ length: 9 }, (_, i) => ({ ...logged(`e${i}`, i + 1), at: 0 }))
    server.room(ROOM).log.push(...log)
    server.last.send({
      type: 'reset',
      data: { room: ROOM, position: { epoch: 4, seq: 9 }, snapshot: { seq: 6, elements: [] }, ops: log.slice(6) },
    })
    await settled()
    expect(events).toEqual(['reset 0', 'reset 6', 'ops 7 3'])
    expect(room.position).toEqual({ epoch: 4, seq: 9 })
  })

  test('a server that knows less than the client is asked for the whole room', async () => {
    const { server, clock, connect, errors } = scene()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    // A server that does not even notice.
    server.intercept = (connection, message) => {
      if (message.type !== 'join' || !message.data.since) return false
      const position = { epoch: 3, seq: 1 }
      const presence = { count: 0, members: [] }
      const data = { room: ROOM, kind: 'board', title: 'Sketches', role: 'editor', position, presence }
      connection.reply(message.id, { type: 'joined', data } as never)
      return true
    }
    const room = connect().join(ROOM)
    const resets: number[] = []
    room.on('reset', ({ snapshot }) => resets.push(snapshot!.seq))
    await settled()
    server.room(ROOM).log.length = 1
    server.last.close(4000)
    await clock.advance(1_000)
    expect(room.position).toEqual({ epoch: 3, seq: 1 })
    expect(resets).toEqual([1, 0])
    expect(errors).toEqual([])
  })

  test('takes up from a cache', async () => {
    const { server, connect } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
    const position = { epoch: 3, seq: 1 }
    const room = connect().join(ROOM, { cached: { position, snapshot: { seq: 1, elements: [] } } })
    const seen = history(room)
    await settled()
    expect(server.last.ofType('join')).toEqual([{ room: ROOM, since: position }])
    expect([...seen]).toEqual([[2, 'b']])
  })

  test('presence follows who comes and goes', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    const bob = { id: SOMEBODY, name: 'Bob', role: 'viewer' as const }
    server.last.send({ type: 'presence', data: { room: ROOM, count: 2, joined: [bob] } })
    await settled()
    expect(room.presence.count).toBe(2)
    expect(room.presence.members.get(SOMEBODY)).toEqual(bob)
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, left: [SOMEBODY] } })
    await settled()
    expect([...room.presence.members.values()].map(({ name }) => name)).toEqual(['Ada'])
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, members: [bob] } })
    await settled()
    expect([...room.presence.members.values()]).toEqual([bob])
  })

  test('a refused join rejects what waits, and a better link opens the door', async () => {
    const { server, connect } = scene()
    server.intercept = (connection, message) => {
      if (message.type !== 'join' || message.data.link === 'good') return false
      connection.refuse(message.id, 'link_invalid')
      return true
    }
    const client = connect()
    const room = client.join(ROOM, { link: 'bad' })
    const waiting = room.submit(stroke('a'))
    await expect(waiting).rejects.toMatchObject({ code: 'link_invalid' })
    expect([room.state, room.refusal?.code, room.unanswered]).toEqual(['refused', 'link_invalid', 0])
    await expect(room.submit(stroke('b'))).rejects.toMatchObject({ code: 'link_invalid' })
    client.join(ROOM, { link: 'good' })
    await settled()
    expect([room.state, room.refusal]).toEqual(['joined', null])
    await expect(room.submit(stroke('c'))).resolves.toBe(1)
  })

  test('a join that is to be tried later is tried later', async () => {
    const { server, clock, connect } = scene()
    let joins = 0
    server.intercept = (connection, { type, id }) => {
      if (type !== 'join' || joins++ > 0) return false
      connection.refuse(id, 'room_unavailable', 2_000)
      return true
    }
    const room = connect().join(ROOM)
    await clock.advance(1_999)
    expect(room.state).toBe('joining')
    await clock.advance(1)
    expect(room.state).toBe('joined')
  })

  test('leaves once the last op is answered', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    server.last.deaf = true
    const saved = room.submit(stroke('a'))
    room.leave()
    await settled()
    expect(room.state).toBe('left')
    await expect(room.submit(stroke('b'))).rejects.toMatchObject({ code: 'closed' })
    server.last.close(4000)
    await clock.advance(1_000)
    await expect(saved).resolves.toBe(1)
    await settled()
    expect(server.last.ofType('leave')).toEqual([{ room: ROOM }])
    expect(server.last.joined.size).toBe(0)
    expect(client.join(ROOM)).not.toBe(room)
  })

  test('follows its title', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const titles: string[] = []
    room.on('renamed', (title) => titles.push(title))
    await settled()
    server.last.send({ type: 'renamed', data: { room: ROOM, title: 'Plans' } })
    await settled()
    expect([room.title, titles]).toEqual(['Plans', ['Sketches', 'Plans']])
  })

  test('tells what was read', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    room.read(7)
    await settled()
    expect(server.last.ofType('read')).toEqual([{ room: ROOM, seq: 7 }])
  })
})

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

describe('signals', () => {
  test('are conflated, paced, dropped while offline, and never come back to their sender', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    const heard: Json[] = []
    room.on('signals', (signals) => heard.push(...signals.map(({ body }) => body)))
    room.signal('cursor', 'too early')
    await settled()
    for (let x = 0; x < 50; x++) room.signal('cursor', x)
    await settled()
    expect(server.last.ofType('signal').map(({ body }) => body)).toEqual([49])
    server.last.signal(ROOM, 'cursor', 'theirs')
    server.last.signal(ROOM, 'cursor', 'mine', client.user!.id, client.id!)
    await settled()
    expect(heard).toEqual(['theirs'])
    for (let i = 0; i < 400; i++) {
      room.signal(`stroke.${i}`, i)
      await clock.advance(1)
    }
    expect(server.last.ofType('signal').length).toBeLessThanOrEqual(101 + 0.09 * 400 + 1)
    await clock.advance(1_000)
    expect(server.last.ofType('signal').at(-1)!.body).toBe(399)
  })

  test('of a viewer are not sent', async () => {
    const { server, connect } = scene()
    server.role = 'viewer'
    const room = connect().join(ROOM)
    await settled()
    room.signal('cursor', 1)
    await settled()
    expect(server.last.ofType('signal')).toEqual([])
  })

  test('that are too large are told of', async () => {
    const { server, connect, errors } = scene()
    const room = connect().join(ROOM)
    await settled()
    room.signal('cursor', 'x'.repeat(5_000))
    await settled()
    expect(errors.map(({ code }) => code)).toEqual(['invalid_request'])
    expect(server.last.ofType('signal')).toEqual([])
  })
})

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

describe('a token', () => {
  const LIFE_MS = 600_000

  test('is refreshed on the living connection before it runs out', async () => {
    const { server, clock, connect } = scene()
    const tokens: string[] = []
    const client = connect({
      credentials: () => {
        tokens.push(fakeToken(SOMEBODY, clock.now() + LIFE_MS))
        return { token: tokens.at(-1)! }
      },
    })
    await settled()
    expect(client.user).toEqual({ id: SOMEBODY, name: 'Ada', guest: false })
    for (let i = 0; i < 4 * 60; i++) {
      await clock.advance(10_000)
      server.last.ping()
    }
    await settled()
    expect(server.connections).toHaveLength(1)
    expect(tokens.length).toBeGreaterThan(4)
    expect(server.last.ofType('refresh').map(({ token }) => token)).toEqual(tokens.slice(1))
  })

  test('that cannot be refreshed now is tried again', async () => {
    const { server, clock, connect, errors } = scene()
    let asked = 0
    connect({
      credentials: () => {
        if (++asked === 2) throw new Error('no network')
        return { token: fakeToken(SOMEBODY, clock.now() + LIFE_MS) }
      },
    })
    server.pingMs = LIFE_MS
    await clock.advance(LIFE_MS * 0.8)
    expect([asked, errors.length]).toEqual([2, 1])
    await clock.advance(5_000)
    expect(asked).toBe(3)
    expect(server.last.ofType('refresh')).toHaveLength(1)
  })

  test('that ran out while the page slept is replaced before hello', async () => {
    const { server, clock, connect } = scene()
    let asked = 0
    connect({
      credentials: () => {
        asked++
        return { token: fakeToken(SOMEBODY, clock.now() + 1_000 * asked) }
      },
    })
    await settled()
    server.intercept = (_, { type }) => type === 'refresh'
    server.last.close(4000)
    await clock.advance(5_000)
    expect(asked).toBeGreaterThanOrEqual(2)
    expect(server.last.ofType('hello')[0]).not.toHaveProperty('resume')
  })
})

describe('an application\'s mistakes', () => {
  test('are told at once', () => {
    const { connect } = scene()
    expect(() => connect({ url: 'nowhere' })).toThrow(TypeError)
  })

  test('a listener that throws harms nobody else', async () => {
    const { connect } = scene()
    const uncaught: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => uncaught.push(error))
    try {
      const client = connect()
      const heard: string[] = []
      client.on('status', () => {
        throw new Error('oh')
      })
      const off = client.on('status', (status) => heard.push(status))
      await settled()
      off()
      client.close()
      expect(heard).toEqual(['online'])
      await settled()
      expect(uncaught).toHaveLength(2)
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })
})

describe('activity', () => {
  test('is told when it changes, and again on a new connection', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    await settled()
    client.setActive(true)
    client.setActive(false)
    client.setActive(false)
    await settled()
    expect(server.last.ofType('activity')).toEqual([{ active: false }])

    const first = server.last
    first.close(4100, 'drained')
    await settled()
    await clock.advance(60_000)
    expect(server.last).not.toBe(first)
    expect(server.last.ofType('activity')).toEqual([{ active: false }])
    client.setActive(true)
    await settled()
    expect(server.last.ofType('activity')).toEqual([{ active: false }, { active: true }])
  })

  test('is nothing that a server which does not know of it complains about', async () => {
    const { server, errors, connect } = scene()
    server.intercept = (connection, message) => {
      if (message.type !== 'activity') return false
      connection.refuse(message.id, 'unknown_type')
      return true
    }
    const client = connect()
    await settled()
    client.setActive(false)
    await settled()
    expect([client.status, errors]).toEqual(['online', []])
  })
})
