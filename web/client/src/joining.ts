/** Asks to be let into a room: one attempt counts at a time, on whichever connection, and a later one when the server is busy. */

import { Backoff } from './backoff.js'
import type { Clock, Random } from './clock.js'
import type { Connection, Reply } from './connection.js'
import { EnfiladeError } from './errors.js'
import type { Requests } from './types.js'

/** An attempt, and who wants to know that it is over. */
interface Attempt {
  readonly on: Connection
  settled: () => void
}

export class Joining {
  readonly #clock: Clock
  readonly #random: Random
  /** Its answer is awaited. */
  #attempt: Attempt | null = null
  /** It was answered with a request to come again. */
  #postponed: Attempt | null = null
  #retry: unknown
  #backoff: Backoff | null = null

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** Where the answer is awaited; null if none is. */
  get on(): Connection | null {
    return this.#attempt?.on ?? null
  }

  /** Whoever takes the answer calls `settled` when it is final, or hands it on to `later`. */
  ask(on: Connection, request: Requests['join'], settled: () => void, answered: (reply: Reply, settled: () => void) => void): void {
    // A later join on the same connection stands for the earlier ones.
    const earlier = [this.#attempt, this.#postponed].filter((attempt) => attempt?.on === on)
    const attempt = { on, settled: all([...earlier.map((attempt) => attempt!.settled), settled]) }
    this.#attempt = attempt
    if (this.#postponed?.on === on) this.#postponed = null
    on.request('join', request, (reply) => {
      if (this.#attempt !== attempt) return
      this.#attempt = null
      // The client attaches the room elsewhere.
      if (reply instanceof EnfiladeError && reply.code === 'disconnected') return
      answered(reply, attempt.settled)
    })
  }

  /** As soon as the server allows it, unless another attempt is made until then. */
  later(on: Connection, error: EnfiladeError, settled: () => void, again: (settled: () => void) => void): void {
    const postponed = { on, settled }
    this.#postponed = postponed
    this.#backoff ??= new Backoff(this.#random)
    const ms = Math.max(error.retryAfterMs ?? 0, this.#backoff.next())
    this.#clock.clearTimeout(this.#retry)
    this.#retry = this.#clock.setTimeout(() => {
      if (this.#postponed !== postponed || !on.ready || this.#attempt) return
      this.#postponed = null
      again(settled)
    }, ms)
  }

  succeeded(): void {
    this.#backoff = null
  }

  /** What was asked on this connection will not be answered any more. */
  lost(on: Connection): void {
    if (this.#attempt?.on === on) this.#attempt = null
    if (this.#postponed?.on === on) this.#postponed = null
  }

  /** The answers do not matter any more. Returns how to tell those who wanted to know. */
  abandon(): () => void {
    const settled = [this.#attempt, this.#postponed].map((attempt) => attempt?.settled ?? (() => {}))
    this.#attempt = this.#postponed = null
    return all(settled)
  }

  stop(): void {
    this.#attempt = this.#postponed = null
    this.#clock.clearTimeout(this.#retry)
  }
}

function all(callbacks: readonly (() => void)[]): () => void {
  return () => callbacks.forEach((callback) => callback())
}
