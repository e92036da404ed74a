/** Snapshots that come compressed: in order with what follows, and plain ones after one that is broken. */

import { deflateRawSync } from 'node:zlib'
import { encode } from '@msgpack/msgpack'
import { expect, test } from 'vitest'

import { Board } from '../src/board.js'
import { HTTP_SCHEMAS, toWire } from '../src/wire.js'
import type { ServerMessage, Snapshot } from '../src/types.js'
import { ROOM, rectangle, scene, type Scene } from './support/arrange.js'
import type { FakeConnection } from './support/fake-server.js'

/** Answers joins with packed snapshots to those who read them. */
function pack({ server }: Scene, packed: (snapshot: Snapshot) => Uint8Array): void {
  server.intercept = (connection, message) => {
    const reads = connection.ofType('hello')[0]?.compression?.includes('deflate')
    if (message.type !== 'join' || message.data.since || !reads) return false
    const { log, epoch } = server.room(ROOM)
    connection.joined.add(ROOM)
    connection.reply(message.id, {
      type: 'joined',
      data: {
        room: ROOM,
        kind: 'board',
        title: 'Sketches',
        role: 'editor',
        position: { epoch, seq: log.length },
        snapshot_deflate: packed(server.state(ROOM).snapshot()),
        presence: { count: 0, members: [] },
      },
    } as Omit<ServerMessage, 'id'>)
    return true
  }
}

/** No points in these: nothing has to be coded. */
const deflated = (snapshot: Snapshot): Uint8Array =>
  new Uint8Array(deflateRawSync(encode(toWire(snapshot, HTTP_SCHEMAS.namedSnapshot, asText))))
const asText = { uuid: (it: unknown) => it, points: (it: unknown) => it, pressure: (it: unknown) => it }

const until = async (true_: () => boolean): Promise<void> => {
  while (!true_()) await new Promise((resolve) => setImmediate(resolve))
}

test('what comes while a snapshot is unpacked waits for it', async () => {
  const here = scene()
  const { server, connect, errors } = here
  for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
  let last: FakeConnection | undefined
  pack(here, (snapshot) => {
    last = server.last
    return deflated(snapshot)
  })
  const room = connect().join(ROOM)
  const board = new Board(room)
  const seen: string[] = []
  room.on('reset', ({ snapshot }) => seen.push(`snapshot of ${snapshot!.seq}`))
  room.on('ops', ({ firstSeq }) => seen.push(`op ${firstSeq}`))
  await until(() => last !== undefined)
  server.somebody(ROOM, rectangle('c'))
  server.somebody(ROOM, rectangle('d'))
  await until(() => room.position?.seq === 4)
  expect(seen).toEqual(['snapshot of 2', 'op 3', 'op 4'])
  expect(board.elements().map(({ element }) => element).sort()).toEqual(['a', 'b', 'c', 'd'])
  expect(errors).toEqual([])
})

test('after one that is broken the client asks for plain ones', async () => {
  const here = scene()
  const { server, connect, errors, clock } = here
  server.somebody(ROOM, rectangle('a'))
  pack(here, (snapshot) => deflated(snapshot).slice(0, -3))
  const client = connect()
  const room = client.join(ROOM)
  await until(() => errors.length > 0)
  expect(errors.map(({ code }) => code)).toEqual(['snapshot_unreadable'])
  expect([client.status, room.state]).toEqual(['offline', 'joining'])
  await clock.advance(1_000)
  await until(() => room.state === 'joined')
  expect(server.connections).toHaveLength(2)
  expect(server.last.ofType('hello')[0]).not.toHaveProperty('compression')
  expect(room.position?.seq).toBe(1)
})

test('in JSON nobody asks for packed snapshots', async () => {
  const { server, connect } = scene()
  const client = connect({ codec: 'json' })
  await until(() => client.status === 'online')
  expect(server.last.ofType('hello')[0]).not.toHaveProperty('compression')
})

test('a connection that ends while a snapshot is unpacked leaves nothing behind', async () => {
  const here = scene()
  const { server, connect, clock, errors } = here
  server.somebody(ROOM, rectangle('a'))
  let joins = 0
  pack(here, (snapshot) => {
    joins += 1
    if (joins === 1) server.last.close(4000)
    return deflated(snapshot)
  })
  const room = connect().join(ROOM)
  await until(() => joins === 1 && server.last.closed)
  await clock.advance(1_000)
  await until(() => room.state === 'joined')
  expect(joins).toBe(2)
  expect(errors).toEqual([])
})
