import { describe, expect, test } from 'vitest'

import { msgpackCodec } from '../src/codec.js'
import { Connection, type ConnectionHandler, type Ending, type Reply } from '../src/connection.js'
import { EnfiladeError } from '../src/errors.js'
import { newClientId } from '../src/ids.js'
import { ROOM } from './support/arrange.js'
import { FakeClock, settled } from './support/fake-clock.js'
import { FakeServer, socketsTo } from './support/fake-server.js'

interface Opened {
  server: FakeServer
  clock: FakeClock
  connection: Connection
  endings: Ending[]
}

async function open(): Promise<Opened> {
  const server = new FakeServer()
  const clock = new FakeClock()
  const endings: Ending[] = []
  const handler: ConnectionHandler = {
    welcomed() {},
    pushed() {},
    failed() {},
    ended: (_, ending) => endings.push(ending),
  }
  const hello = { client: newClientId(), guest: { name: 'Ada' } }
  const options = { url: server.url, WebSocket: socketsTo(server), codec: msgpackCodec, hello, clock }
  const connection = new Connection(options, handler)
  await settled()
  return { server, clock, connection, endings }
}

const code = (reply: Reply): string => (reply instanceof EnfiladeError ? reply.code : reply.type)

describe('a connection', () => {
  test('answers every request exactly once, also when it ends', async () => {
    const { server, connection, endings } = await open()
    const replies: string[] = []
    connection.request('leave', { room: ROOM }, (reply) => replies.push(code(reply)))
    await settled()
    expect(replies).toEqual(['ok'])
    server.last.deaf = true
    connection.request('leave', { room: ROOM }, (reply) => replies.push(code(reply)))
    await settled()
    server.last.close(4000, 'going_away')
    await settled()
    expect(replies).toEqual(['ok', 'disconnected'])
    connection.request('leave', { room: ROOM }, (reply) => replies.push(code(reply)))
    expect(replies).toEqual(['ok', 'disconnected', 'disconnected'])
    expect(endings).toEqual([{ code: 4000, reason: 'going_away' }])
    connection.close()
    expect(endings).toHaveLength(1)
  })

  test('gives an error the name that it has in the log of the server', () => {
    const data = { code: 'internal', message: 'oh', trace_id: '4bf92f3577b34da6a3ce929d0e0e4736' }
    expect(EnfiladeError.from(data).traceId).toBe(data.trace_id)
    expect(EnfiladeError.from({ code: 'busy', message: 'later' }).traceId).toBeUndefined()
  })

  test('leaves no timer behind', async () => {
    const { clock, connection, endings } = await open()
    expect(clock.pending).toBe(1)
    connection.close('done')
    expect([clock.pending, connection.ended]).toEqual([0, true])
    expect(endings).toEqual([{ code: 1000, reason: 'done' }])
  })

  test('sends what was said in the turn in which it is closed', async () => {
    const { server, connection } = await open()
    connection.request('leave', { room: ROOM }, () => {})
    connection.close()
    await settled()
    expect(server.last.ofType('leave')).toEqual([{ room: ROOM }])
    expect(server.open).toEqual([])
  })

  test('replies are matched by id, in whatever order they come', async () => {
    const { server, connection } = await open()
    const held: (number | undefined)[] = []
    server.intercept = (_, { type, id }) => {
      if (type === 'read') held.push(id)
      return type === 'read'
    }
    const order: number[] = []
    for (const n of [1, 2, 3]) connection.request('read', { room: ROOM, seq: n }, () => order.push(n))
    await settled()
    for (const id of held.reverse()) server.last.reply(id, { type: 'ok', data: {} })
    await settled()
    expect(order).toEqual([3, 2, 1])
  })
})
