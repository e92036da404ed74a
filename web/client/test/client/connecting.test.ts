import { describe, expect, test } from 'vitest'

import type { Position } from '../../src/types.js'
import { ROOM, history, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { fakeToken, SOMEBODY } from '../support/fake-server.js'

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
