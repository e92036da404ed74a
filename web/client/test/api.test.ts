import { describe, expect, test } from 'vitest'

import { Api } from '../src/api.js'
import { toPoints } from '../src/points.js'
import { ROOM, stroke } from './support/arrange.js'
import { SOMEBODY } from './support/fake-server.js'

interface Asked {
  method: string
  path: string
  headers: Record<string, string>
  body: unknown
}

type Answer = { status?: number; body?: unknown; text?: string } | Error

/** A server that answers what it is told to, and what was asked of it. */
function server(...answers: Answer[]): { api: Api; asked: Asked[]; tick: (ms: number) => void } {
  const asked: Asked[] = []
  let now = 0
  const fetch = async (url: unknown, init: RequestInit = {}): Promise<Response> => {
    const { method = 'GET', headers, body } = init
    asked.push({
      method,
      path: String(url),
      headers: headers as Record<string, string>,
      body: body === undefined ? undefined : JSON.parse(body as string),
    })
    await Promise.resolve()
    const answer = answers.shift() ?? { body: {} }
    if (answer instanceof Error) throw answer
    const { status = 200, body: json, text } = answer
    return new Response(status === 204 ? null : (text ?? JSON.stringify(json)), { status })
  }
  const api = new Api({ origin: 'https://board.test', fetch: fetch as typeof globalThis.fetch, now: () => now })
  return { api, asked, tick: (ms) => void (now += ms) }
}

const problem = (status: number, code: string, extra = {}): Answer => ({
  status,
  body: { type: `urn:enfilade:error:${code}`, title: 'No', detail: 'this time', status, code, ...extra },
})
const session = (token: string): Answer => ({
  body: { access_token: token, expires_in: 600, user: { id: SOMEBODY, name: 'Ada' } },
})

describe('the session', () => {
  test('starts with signing in, and is told', async () => {
    const { api, asked } = server(session('one'), { body: { rooms: [] } })
    const told: unknown[] = []
    api.on('session', (session) => told.push(session?.token))
    const expected = { token: 'one', expiresAt: 600_000, user: { id: SOMEBODY, name: 'Ada', guest: false } }
    await expect(api.signIn({ username: 'ada', password: 'secret12' })).resolves.toEqual(expected)
    expect(api.session).toEqual(expected)
    await api.rooms({ limit: 10 })
    expect(asked[0]).toMatchObject({ method: 'POST', path: 'https://board.test/api/v1/auth/sign-in' })
    expect(asked[0]!.headers).not.toHaveProperty('Authorization')
    expect(asked[1]).toMatchObject({ path: 'https://board.test/api/v1/rooms?limit=10', headers: { Authorization: 'Bearer one' } })
    expect(told).toEqual(['one'])
  })

  test('is refreshed in time, once for all who ask', async () => {
    const { api, asked, tick } = server(session('one'), session('two'))
    await api.signUp({ username: 'ada', password: 'secret12', name: 'Ada' })
    tick(400_000)
    expect(await api.token()).toBe('one')
    tick(50_000)
    expect(await Promise.all([api.token(), api.token(), api.refresh()])).toMatchObject(['two', 'two', { token: 'two' }])
    expect(asked.map(({ path }) => path.split('/').at(-1))).toEqual(['sign-up', 'refresh'])
  })

  test('is not there when nobody is signed in', async () => {
    const { api } = server(problem(401, 'unauthenticated'))
    expect(await api.refresh()).toBeNull()
    expect(await api.token()).toBeUndefined()
  })

  test('is kept when a refresh fails for another reason', async () => {
    const { api, tick } = server(session('one'), problem(503, 'busy', { retry_after_ms: 50 }), session('two'))
    await api.signIn({ username: 'ada', password: 'secret12' })
    tick(590_000)
    await expect(api.token()).rejects.toMatchObject({ code: 'busy', retryAfterMs: 50 })
    expect(api.session?.token).toBe('one')
    expect(await api.token()).toBe('two')
  })

  test('ends with signing out', async () => {
    const { api, asked } = server(session('one'), { status: 204 })
    await api.signIn({ username: 'ada', password: 'secret12' })
    await api.signOut({ everywhere: true })
    expect(asked[1]).toMatchObject({ body: { everywhere: true }, headers: { Authorization: 'Bearer one' } })
    expect(api.session).toBeNull()
  })

  test('is refreshed under a lock that all tabs share', async () => {
    const names: string[] = []
    const request = async (name: string, run: () => unknown): Promise<unknown> => {
      names.push(name)
      return run()
    }
    const fetch = async (): Promise<Response> =>
      new Response(JSON.stringify({ access_token: 'one', expires_in: 600, user: { id: SOMEBODY, name: 'Ada' } }))
    const api = new Api({ origin: 'https://board.test', fetch, locks: { request: request as LockManager['request'] } })
    await Promise.all([api.refresh(), api.refresh()])
    expect(names).toEqual(['enfilade-refresh'])
  })
})

describe('a call', () => {
  test('repeats itself once when the server could not be reached, under the same key', async () => {
    const room = { id: ROOM, kind: 'board', title: 'Sketches', role: 'owner', link: 'secret' }
    const { api, asked } = server(new TypeError('fetch failed'), { status: 201, body: room })
    await expect(api.createRoom({ kind: 'board', title: 'Sketches' })).resolves.toEqual(room)
    expect(asked).toHaveLength(2)
    expect(asked[0]!.headers['Idempotency-Key']).toMatch(/^[0-9a-f-]{36}$/)
    expect(asked[1]).toEqual(asked[0])
  })

  test('fails when the server cannot be reached at all', async () => {
    const { api, asked } = server(new TypeError('fetch failed'), new TypeError('fetch failed'))
    await expect(api.room(ROOM)).rejects.toMatchObject({ code: 'unreachable' })
    expect(asked).toHaveLength(2)
  })

  test('gets a new token when its own has run out', async () => {
    const { api, asked } = server(session('one'), problem(401, 'token_expired'), session('two'), { body: { members: [] } })
    await api.signIn({ username: 'ada', password: 'secret12' })
    await expect(api.members(ROOM)).resolves.toEqual({ members: [] })
    expect(asked.at(-1)!.headers.Authorization).toBe('Bearer two')
  })

  test('carries the secret of a link', async () => {
    const link = { id: SOMEBODY, role: 'viewer', created_at: 1 }
    const { api, asked } = server({ body: { links: [link] } }, { status: 204 })
    expect(await api.links(ROOM, 'secret')).toEqual([link])
    await api.revokeLink(ROOM, SOMEBODY, 'secret')
    expect(asked.map(({ method, headers }) => [method, headers['Enfilade-Link']])).toEqual([['GET', 'secret'], ['DELETE', 'secret']])
  })

  test('rejects with the code of the problem', async () => {
    const { api } = server(
      problem(404, 'room_not_found', { trace_id: '4bf92f3577b34da6a3ce929d0e0e4736' }),
      { status: 502, text: '<html>Bad gateway</html>' },
      { status: 400, body: null },
    )
    await expect(api.room(ROOM)).rejects.toMatchObject({
      code: 'room_not_found',
      message: 'this time',
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    })
    await expect(api.room(ROOM)).rejects.toMatchObject({ code: 'busy', message: 'the server answered 502' })
    await expect(api.room(ROOM)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  test('translates points, there and back', async () => {
    const points = [[10, 10], [11.5, 12]]
    const element = { element: 'a', type: 'stroke', author: SOMEBODY, z: 1, color: '#1a1a1a', width: 4, points }
    const logged = { author: SOMEBODY, client: SOMEBODY, op_id: 1, at: 0, op: { type: 'add_stroke', data: { element: 'a', color: '#1a1a1a', width: 4, points } } }
    const { api, asked } = server(
      { body: { seq: 1 } },
      { body: { room: ROOM, kind: 'board', title: 'Sketches', position: { epoch: 1, seq: 1 }, snapshot: { seq: 1, elements: [element] } } },
      { body: { first_seq: 1, ops: [logged], next: 1 } },
    )
    await expect(api.submit(ROOM, { client: SOMEBODY, opId: 1, op: stroke('a') })).resolves.toEqual({ seq: 1 })
    expect(asked[0]!.body).toEqual({ client: SOMEBODY, op_id: 1, op: logged.op })
    const { snapshot } = await api.snapshot(ROOM)
    expect(snapshot.elements).toEqual([{ ...element, points: toPoints([[10, 10], [11.5, 12]]) }])
    const history = await api.ops(ROOM, { after: 0 })
    expect(history).toMatchObject({ firstSeq: 1, next: 1 })
    expect(history.ops[0]!.op).toEqual(stroke('a'))
  })
})
