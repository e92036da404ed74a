/** A client, a server and a clock to play with. */

import { expect, onTestFinished } from 'vitest'

import { Board } from '../../src/board.js'
import { Client, type ClientOptions } from '../../src/client.js'
import type { EnfiladeError } from '../../src/errors.js'
import { toPoints } from '../../src/points.js'
import type { Room } from '../../src/room.js'
import type { AddOp, LoggedOp, Uuid } from '../../src/types.js'
import { FakeClock, settled } from './fake-clock.js'
import { FakeServer, socketsTo } from './fake-server.js'

export const ROOM: Uuid = '7d1e0000-0000-4000-8000-000000000001'
export const OTHER_ROOM: Uuid = '7d1e0000-0000-4000-8000-000000000002'

export interface Scene {
  server: FakeServer
  clock: FakeClock
  /** Errors that clients told of. */
  errors: EnfiladeError[]
  connect(options?: Partial<ClientOptions>): Client
  board(options?: Partial<ClientOptions>): Promise<Board>
}

export function scene(): Scene {
  const server = new FakeServer()
  const clock = new FakeClock()
  const errors: EnfiladeError[] = []
  const connect = (options: Partial<ClientOptions> = {}): Client => {
    const client = new Client({
      url: server.url,
      credentials: () => ({ guest: { name: 'Ada' } }),
      WebSocket: socketsTo(server),
      clock,
      random: () => 0.5,
      ...options,
    })
    client.on('error', (error) => errors.push(error))
    onTestFinished(() => client.close())
    return client
  }
  const board = async (options?: Partial<ClientOptions>): Promise<Board> => {
    const board = new Board(connect(options).join(ROOM))
    await settled()
    return board
  }
  return { server, clock, errors, connect, board }
}

export function stroke(element: string, points: [number, number][] = [[10, 10], [11.5, 12]]): AddOp {
  return { type: 'add_stroke', data: { element, color: '#1a1a1a', width: 4, points: toPoints(points) } }
}

export function rectangle(element: string, color = '#1a1a1a'): AddOp {
  return { type: 'add_rectangle', data: { element, color, width: 2, bounds: [0, 0, 10, 10] } }
}

/** The names of the elements that a room was told of, by seq. */
export function history(room: Room): Map<number, string> {
  const seen = new Map<number, string>()
  room.on('ops', ({ firstSeq, ops }) => {
    ops.forEach(({ op }: LoggedOp, i) => {
      expect(seen.has(firstSeq + i)).toBe(false)
      seen.set(firstSeq + i, (op.data as { element: string }).element)
    })
  })
  return seen
}
