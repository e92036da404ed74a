/** Own signals that wait for their turn: the latest of each key, a bounded number of keys, within the rate of the server. */

import type { Clock } from './clock.js'
import type { Connection } from './connection.js'
import { asError, type EnfiladeError } from './errors.js'
import type { Json, Uuid } from './types.js'

/** More keys than anybody sends in a second; beyond it the oldest are lost, as signals may be. */
const MOST_KEYS = 64
const CONGESTION_MS = 50

export class SignalLane {
  readonly #bodies = new Map<string, Json>()

  get size(): number {
    return this.#bodies.size
  }

  put(key: string, body: Json): void {
    // Anew at the end: its place is that of its latest body.
    this.#bodies.delete(key)
    this.#bodies.set(key, body)
    if (this.#bodies.size <= MOST_KEYS) return
    const [oldest] = this.#bodies.keys()
    this.#bodies.delete(oldest!)
  }

  take(): [key: string, body: Json] | undefined {
    for (const [key, body] of this.#bodies) {
      this.#bodies.delete(key)
      return [key, body]
    }
    return undefined
  }

  clear(): void {
    this.#bodies.clear()
  }
}

/** Sends the signals of a room. What cannot go now waits, unless something newer takes its place. */
export class SignalSender {
  readonly #lane = new SignalLane()
  #line: Connection | null = null
  #due = false
  #timer: unknown

  constructor(
    readonly room: Uuid,
    readonly clock: Clock,
    readonly report: (error: EnfiladeError) => void,
  ) {}

  say(line: Connection, key: string, body: Json): void {
    this.#line = line
    this.#lane.put(key, body)
    if (this.#due) return
    this.#due = true
    // At the end of the turn, so that a burst of pointer events becomes one signal.
    queueMicrotask(() => this.#send())
  }

  /** Nobody is to hear any of it any more. */
  clear(): void {
    this.#lane.clear()
    this.#line = null
  }

  stop(): void {
    this.clear()
    this.clock.clearTimeout(this.#timer)
  }

  #send(): void {
    this.#due = false
    const line = this.#line
    if (!line?.ready) return this.#lane.clear()
    while (this.#lane.size > 0) {
      if (line.congested) return this.#sendAfter(CONGESTION_MS)
      if (!line.signalPacer.take(this.clock.now())) return this.#sendAfter(line.signalPacer.waitMs(this.clock.now()))
      const [key, body] = this.#lane.take()!
      try {
        line.signal({ room: this.room, key, body })
      } catch (error) {
        this.report(asError(error, 'payload_too_large'))
      }
    }
  }

  #sendAfter(ms: number): void {
    this.#due = true
    this.#timer = this.clock.setTimeout(() => this.#send(), ms)
  }
}
