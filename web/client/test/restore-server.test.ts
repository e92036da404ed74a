/** The real server comes back from a backup, while people have its boards open. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'

import { Api, type RoomInfo } from '../src/api.js'
import { Board } from '../src/board.js'
import { BoardState } from '../src/board-state.js'
import { Client } from '../src/client.js'
import type { SocketConstructor } from '../src/connection.js'
import { newClientId } from '../src/ids.js'
import { rectangle } from './support/arrange.js'
import { BINARY, BINARY_IS_THERE, fetchWithCookies, RealServer } from './support/real-server.js'

if (!BINARY_IS_THERE) console.warn(`skipped: there is no server at ${BINARY}; build it, or set ENFILADE_BIN`)

const SOON = { timeout: 15_000, interval: 20 }

describe.skipIf(!BINARY_IS_THERE)('a server that was restored from a backup', () => {
  let server: RealServer
  let api: Api

  beforeAll(async () => {
    server = await RealServer.start()
    api = new Api({ origin: server.origin, fetch: fetchWithCookies() })
  }, 60_000)
  afterAll(async () => server?.stop(), 30_000)

  function at(room: RoomInfo, name: string): { client: Client; board: Board } {
    const credentials = (): { guest: { name: string } } => ({ guest: { name } })
    const client = new Client({ url: server.url, credentials, WebSocket: WebSocket as unknown as SocketConstructor })
    onTestFinished(() => client.close())
    return { client, board: new Board(client.join(room.id, { link: room.link! })) }
  }

  const command = (...args: string[]): Promise<unknown> => promisify(execFile)(BINARY, [...args, '--data-dir', server.folder])
  const names = (board: Board): string[] => [...board.elements()].filter(({ deleted_by }) => deleted_by === undefined).map(({ element }) => element).sort()

  test('shows everybody its own state, takes what was unanswered, and doubles nothing', async () => {
    const room = await api.createRoom({ kind: 'board', title: 'Sketches' })
    const [ada, bob] = [at(room, 'Ada'), at(room, 'Bob')]
    for (const { board } of [ada, bob]) await expect.poll(() => board.room.state, SOON).toBe('joined')
    for (const name of ['a1', 'a2']) await ada.board.submit(rectangle(name))
    const backup = join(server.folder, 'backup')
    await command('backup', '--to', backup)
    for (const name of ['lost1', 'lost2', 'lost3']) await ada.board.submit(rectangle(name))
    await expect.poll(() => names(bob.board), SOON).toContain('lost3')
    const before = bob.board.room.position!

    await server.kill()
    const unanswered = bob.board.submit(rectangle('b1'))
    await command('restore', '--from', backup, '--force')
    await server.run()
    // Others go on before Ada and Bob are back, or not: either way what they have is not what there is.
    const carol = { client: newClientId() }
    for (let n = 1; n <= 4; n++) await api.submit(room.id, { ...carol, opId: n, op: rectangle(`c${n}`) }, room.link)

    await unanswered
    await ada.board.submit(rectangle('a3'))
    const now = ['a1', 'a2', 'a3', 'b1', 'c1', 'c2', 'c3', 'c4']
    for (const { board } of [ada, bob]) await expect.poll(() => names(board), SOON).toEqual(now)
    for (const { board } of [ada, bob]) {
      expect(board.room.position!.seq).toBe(now.length)
      expect(board.room.position!.epoch).toBeGreaterThan(before.epoch)
    }
    const { snapshot } = await api.snapshot(room.id, room.link)
    const state = new BoardState()
    state.load(snapshot)
    expect([...state.elements.keys()].sort()).toEqual(now)
  }, 60_000)
})
