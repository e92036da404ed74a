import { describe, expect, test } from 'vitest'

import { OTHER_ROOM, ROOM, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { fakeToken, SOMEBODY } from '../support/fake-server.js'

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
