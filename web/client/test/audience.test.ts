/** An audience: watches, is counted, and may begin with a snapshot from a cache. */

import { encode } from '@msgpack/msgpack'
import { expect, test } from 'vitest'

import { Board } from '../src/board.js'
import { ROOM, rectangle, scene, type Scene } from './support/arrange.js'
import { settled } from './support/fake-clock.js'

test('an audience says hello without a name and is nobody', async () => {
  const { server, connect, errors } = scene()
  const client = connect({ audience: true, credentials: () => ({}) })
  const room = client.join(ROOM, { link: 'secret' })
  await settled()
  expect(server.last.ofType('hello')).toMatchObject([{ client: client.id, audience: true }])
  expect([client.user, client.resume, room.role]).toEqual([null, null, 'viewer'])
  expect(room.presence).toMatchObject({ count: 0, audience: 1 })
  server.last.send({ type: 'presence', data: { room: ROOM, count: 2, audience: 1_204, joined: [] } })
  await settled()
  expect(room.presence).toMatchObject({ count: 2, audience: 1_204 })
  server.last.send({ type: 'presence', data: { room: ROOM, count: 2, joined: [] } })
  await settled()
  expect(room.presence.audience).toBe(0)
  client.setActive(false)
  await settled()
  expect(server.last.ofType('activity')).toEqual([])
  expect(errors).toEqual([])
})

test('an audience comes back, and moves, without a resume token', async () => {
  const { server, connect, clock, errors } = scene()
  const room = connect({ audience: true }).join(ROOM)
  await settled()
  server.last.close(4000)
  await clock.advance(1_000)
  expect(room.state).toBe('joined')
  server.last.send({ type: 'reconnect', data: { after_ms: 10 } })
  await settled()
  await clock.advance(100)
  expect([server.connections.length, server.open.length, room.state]).toEqual([3, 1, 'joined'])
  const hellos = server.connections.flatMap((connection) => connection.ofType('hello'))
  expect(hellos.every((hello) => hello.audience && !('resume' in hello))).toBe(true)
  expect(errors).toEqual([])
})

test('somebody who is signed in may watch as themselves', async () => {
  const { server, connect } = scene()
  const client = connect({ audience: true, credentials: () => ({ resume: 'resume-00000000-0000-4000-8000-000000000009' }) })
  client.join(ROOM)
  await settled()
  expect(client.user).toMatchObject({ name: 'Ada' })
  expect(server.last.ofType('hello')[0]).toMatchObject({ audience: true, resume: expect.stringContaining('resume-') })
})

test('an audience cannot draw', async () => {
  const { connect } = scene()
  const room = connect({ audience: true }).join(ROOM)
  await settled()
  await expect(room.submit(rectangle('a'))).rejects.toMatchObject({ code: 'forbidden' })
})

/** Answers what is asked of `…/snapshots/latest`, as if the redirect had been followed. */
function http({ server }: Scene, answer: (asked: Request, url: string) => Response): { asked: Request[]; fetch: typeof fetch } {
  const asked: Request[] = []
  const fetch = async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(url, init)
    asked.push(request)
    const seq = server.room(ROOM).log.length
    const place = request.url.replace('latest', `3-${seq}?key=k`)
    const response = answer(request, place)
    Object.defineProperty(response, 'url', { value: place })
    return response
  }
  return { asked, fetch: fetch as typeof globalThis.fetch }
}

const snapshotOf = ({ server }: Scene): Uint8Array<ArrayBuffer> => encode(server.state(ROOM).snapshot()) as Uint8Array<ArrayBuffer>

test('a snapshot from HTTP is where the join goes on from', async () => {
  const here = scene()
  const { server, connect, errors } = here
  for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
  const { asked, fetch } = http(here, () => new Response(snapshotOf(here)))
  const board = new Board(connect({ audience: true, fetch }).join(ROOM, { link: 'secret', snapshotFrom: 'http' }))
  await settled()
  await expect.poll(() => board.room.state).toBe('joined')
  expect(board.elements().map(({ element }) => element)).toEqual(['a', 'b'])
  expect(server.last.ofType('join')).toEqual([{ room: ROOM, link: 'secret', since: { epoch: 3, seq: 2 } }])
  expect(asked.map(({ url }) => url)).toEqual([`http://fake.test/api/v1/rooms/${ROOM}/snapshots/latest`])
  expect(asked[0]!.headers.get('Enfilade-Link')).toBe('secret')
  expect(asked[0]!.headers.get('Accept')).toBe('application/msgpack')
  expect(errors).toEqual([])
})

test.each([
  ['there is none', () => new Response(null, { status: 503 })],
  ['it is gone twice', () => new Response(null, { status: 404 })],
  ['it is nonsense', () => new Response(Uint8Array.of(1, 2, 3))],
  ['it is that of another position', () => new Response(encode({ seq: 99, elements: [] }) as Uint8Array<ArrayBuffer>)],
])('if %s the connection brings the snapshot', async (_, answer) => {
  const here = scene()
  const { server, connect, errors } = here
  server.somebody(ROOM, rectangle('a'))
  const { fetch } = http(here, answer)
  const board = new Board(connect({ audience: true, fetch }).join(ROOM, { snapshotFrom: 'http' }))
  await expect.poll(() => board.room.state).toBe('joined')
  expect(server.last.ofType('join')).toEqual([{ room: ROOM }])
  expect(board.elements().map(({ element }) => element)).toEqual(['a'])
  expect(errors).toHaveLength(1)
})

test('a room that is left while its snapshot is fetched is not joined', async () => {
  const here = scene()
  const { server, connect } = here
  const { fetch, asked } = http(here, () => new Response(snapshotOf(here)))
  const client = connect({ audience: true, fetch })
  client.join(ROOM, { snapshotFrom: 'http' }).leave()
  await expect.poll(() => asked.length).toBe(1)
  await settled()
  expect(server.last.ofType('join')).toEqual([])
})
