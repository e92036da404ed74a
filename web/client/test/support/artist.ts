/** Somebody who draws without a pause, and writes down all that happens to them meanwhile. */

import { WebSocket } from 'ws'

import type { RoomInfo } from '../../src/api.js'
import { Board } from '../../src/board.js'
import { Client } from '../../src/client.js'
import type { SocketConstructor } from '../../src/connection.js'
import type { Pen } from '../../src/pen.js'
import type { LoggedOp } from '../../src/types.js'
import { rectangle } from './arrange.js'
import type { Door } from './real-cluster.js'

const OP_EVERY_MS = 20

/** A socket as its owner saw it; all times are milliseconds of one clock. */
export interface SocketLife {
  readonly openedAt: number
  /** The server said that it goes away. */
  told?: { at: number; afterMs: number }
  /** The first join was answered. */
  joinedAt?: number
  closed?: { at: number; code: number }
}

export class Artist {
  readonly client: Client
  readonly board: Board
  readonly sockets: SocketLife[] = []
  /** What ought not to happen to anybody while servers come and go. */
  readonly troubles: string[] = []
  /** The history as it was shown: by seq, in the order in which it came. */
  readonly shown: { seq: number; at: number; op: LoggedOp }[] = []
  /** How often the whole room had to be fetched. */
  resets = 0
  readonly #results: Promise<number>[] = []
  readonly #answeredAt: number[] = []
  #drawing: ReturnType<typeof setInterval> | undefined

  constructor(
    readonly name: string,
    door: Door,
    room: RoomInfo,
  ) {
    this.client = new Client({
      url: door.url,
      credentials: () => ({ guest: { name } }),
      // Readable on its way, so that it can be seen what the server says when.
      codec: 'json',
      WebSocket: this.#recording(),
    })
    this.board = new Board(this.client.join(room.id, { link: room.link! }))
    this.client.on('error', ({ code, message }) => this.troubles.push(`error ${code}: ${message}`))
    this.board.room.on('reset', () => this.resets++)
    this.board.room.on('ops', ({ firstSeq, ops }) => {
      ops.forEach((op, i) => this.shown.push({ seq: firstSeq + i, at: performance.now(), op }))
    })
    this.board.room.on('rejected', ({ refusal }) => this.troubles.push(`rejected: ${refusal.code}`))
  }

  get submitted(): number {
    return this.#results.length
  }

  get answered(): number {
    return this.#answeredAt.length
  }

  /** From now on, every change of the connection's or the room's state is written down too. */
  beWatchful(): void {
    this.client.on('status', (status) => this.troubles.push(`status ${status}`))
    this.board.room.on('state', (state) => this.troubles.push(`room ${state}`))
  }

  startDrawing(): void {
    this.#drawing = setInterval(() => this.draw(), OP_EVERY_MS)
  }

  draw(): void {
    this.#count(this.board.submit(rectangle(`${this.name}-${this.submitted}`)))
  }

  async finish(pen: Pen): Promise<void> {
    const result = pen.finish()
    this.#count(result)
    await result
  }

  /** Lays the pen down; resolves with the seqs of everything drawn. */
  async stopDrawing(): Promise<number[]> {
    clearInterval(this.#drawing)
    return Promise.all(this.#results)
  }

  /** The longest that this person waited between two answers, in milliseconds. */
  longestSilence(since: number): number {
    return longestGap(this.#answeredAt.filter((at) => at >= since))
  }

  /** The longest that nothing of somebody else's was shown, in milliseconds. */
  longestStandstill(author: Artist, since: number): number {
    return longestGap(this.shown.filter(({ op, at }) => op.client === author.client.id && at >= since).map(({ at }) => at))
  }

  close(): void {
    clearInterval(this.#drawing)
    this.client.close()
  }

  #count(result: Promise<number>): void {
    this.#results.push(result)
    result.then(
      () => this.#answeredAt.push(performance.now()),
      () => {},
    )
  }

  #recording(): SocketConstructor {
    const { sockets } = this
    return class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols)
        const life: SocketLife = { openedAt: performance.now() }
        sockets.push(life)
        this.on('message', (frame: Buffer) => note(life, frame.toString()))
        this.on('close', (code: number) => (life.closed = { at: performance.now(), code }))
      }
    } as unknown as SocketConstructor
  }
}

function note(life: SocketLife, frame: string): void {
  const messages: { type: string; data: { after_ms?: number } }[] = [JSON.parse(frame)].flat()
  const at = performance.now()
  for (const { type, data } of messages) {
    if (type === 'reconnect') life.told ??= { at, afterMs: data.after_ms! }
    if (type === 'joined') life.joinedAt ??= at
  }
}

function longestGap(times: readonly number[]): number {
  return Math.max(0, ...times.slice(1).map((at, i) => at - times[i]!))
}
