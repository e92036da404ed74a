import { describe, expect, test } from 'vitest'

import type { Json } from '../../src/types.js'
import { ROOM, scene } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'

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
