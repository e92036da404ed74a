/** An audience against the real server: counted, shown everything, and served from compressed and named snapshots. */

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'

import { Api, type RoomInfo } from '../src/api.js'
import { Board } from '../src/board.js'
import { Client, type ClientOptions } from '../src/client.js'
import type { SocketConstructor } from '../src/connection.js'
import { newClientId } from '../src/ids.js'
import { stroke } from './support/arrange.js'
import { BINARY, BINARY_IS_THERE, fetchWithCookies, RealServer } from './support/real-server.js'

if (!BINARY_IS_THERE) console.warn(`skipped: there is no server at ${BINARY}; build it, or set ENFILADE_BIN`)

const SOON = { timeout: 10_000, interval: 20 }
const STROKES = 250

describe.skipIf(!BINARY_IS_THERE)('an audience at the real server', () => {
  let server: RealServer
  let api: Api
  let room: RoomInfo

  /** A board that was drawn before the server was started, so that it has a snapshot that is worth something. */
  beforeAll(async () => {
    server = await RealServer.start()
    api = new Api({ origin: server.origin, fetch: fetchWithCookies() })
    room = await api.createRoom({ kind: 'board', title: 'Sketches' })
    const client = newClientId()
    for (let n = 1; n <= STROKES; n++) await api.submit(room.id, { client, opId: n, op: stroke(`stroke-${n}`) }, room.link)
    await server.kill()
    await server.run()
  }, 120_000)
  afterAll(async () => server?.stop(), 30_000)

  function at(options: Partial<ClientOptions>, from?: 'http'): { client: Client; board: Board; frames: Buffer[]; asked: string[] } {
    const frames: Buffer[] = []
    const asked: string[] = []
    const Listening = class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols)
        this.on('message', (frame: ArrayBuffer) => frames.push(Buffer.from(frame)))
      }
    } as unknown as SocketConstructor
    const fetch: typeof globalThis.fetch = async (url, init) => {
      const response = await globalThis.fetch(url, init)
      asked.push(response.url)
      return response
    }
    const client = new Client({ url: server.url, WebSocket: Listening, fetch, ...options })
    onTestFinished(() => client.close())
    const board = new Board(client.join(room.id, { link: room.link!, ...(from && { snapshotFrom: from }) }))
    return { client, board, frames, asked }
  }

  test('it is counted and nobody', async () => {
    const artist = at({ credentials: () => ({ guest: { name: 'Ada' } }) })
    await expect.poll(() => artist.board.room.state, SOON).toBe('joined')
    const watchers = [at({ audience: true }), at({ audience: true, codec: 'json' })]
    await expect.poll(() => artist.board.room.presence, SOON).toMatchObject({ count: 1, audience: 2 })
    for (const { client, board } of watchers) {
      await expect.poll(() => board.room.state, SOON).toBe('joined')
      expect([client.user, board.room.role]).toEqual([null, 'viewer'])
      await expect.poll(() => [...board.room.presence.members.values()].map(({ name }) => name), SOON).toEqual(['Ada'])
    }
    const seq = await artist.board.room.submit(stroke('one-more'))
    for (const { board } of watchers) await expect.poll(() => board.room.position?.seq, SOON).toBe(seq)
    watchers[0]!.client.close()
    await expect.poll(() => artist.board.room.presence.audience, SOON).toBe(1)
  })

  test('a large snapshot comes compressed, unless it is in JSON', async () => {
    const sent: Record<string, number> = {}
    for (const codec of ['msgpack', 'json'] as const) {
      const { board, frames } = at({ audience: true, codec })
      await expect.poll(() => board.elements().length, SOON).toBeGreaterThanOrEqual(STROKES)
      sent[codec] = frames.reduce((sum, frame) => sum + frame.length, 0)
      expect(Buffer.concat(frames).includes('snapshot_deflate')).toBe(codec === 'msgpack')
    }
    expect(sent.msgpack! * 4).toBeLessThan(sent.json!)
  })

  test('a snapshot over HTTP spares the connection', async () => {
    const { board, frames, asked } = at({ audience: true }, 'http')
    await expect.poll(() => board.room.state, SOON).toBe('joined')
    expect(board.elements().length).toBeGreaterThanOrEqual(STROKES)
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatch(/\/snapshots\/\d+-\d+\?key=[\w-]{22}$/)
    expect(asked[0]).not.toContain(room.link!)
    expect(Buffer.concat(frames).includes('snapshot')).toBe(false)
  })

  test('without a link there is no way in, by neither', async () => {
    const { client } = at({ audience: true })
    const other = client.join(newClientId(), { snapshotFrom: 'http' })
    await expect.poll(() => other.state, SOON).toBe('refused')
    expect(other.refusal?.code).toBe('room_not_found')
  })
})
