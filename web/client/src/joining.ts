/** Asks to be let into a room: one attempt counts at a time, on whichever connection, and a later one when the server is busy. */

import { Backoff } from './backoff.js'
import type { Clock, Random } from './clock.js'
import type { Connection, Reply } from './connection.js'
import { EnfiladeError } from './errors.js'
import type { Requests } from './types.js'

export class Joining {
  readonly #clock: Clock
  readonly #random: Random
  /** The connection on which the answer is awaited, and who wants to know. */
  #attempt: { on: Connection; settled: () => void } | null = null
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

  /** `settled` is called after the answer, or when none is needed any more. */
  ask(on: Connection, request: Requests['join'], settled: () => void, answered: (reply: Reply) => void): void {
    const attempt = { on, settled }
    // A later join on the same connection stands for the earlier one.
    if (this.#attempt?.on === on) attempt.settled = both(this.#attempt.settled, settled)
    this.#attempt = attempt
    on.request('join', request, (reply) => {
      if (this.#attempt !== attempt) return
      this.#attempt = null
      // The client attaches the room elsewhere.
      if (reply instanceof EnfiladeError && reply.code === 'disconnected') return
      answered(reply)
      attempt.settled()
    })
  }

  /** As soon as the server allows it, unless another attempt is made until then. */
  later(on: Connection, error: EnfiladeError, again: () => void): void {
    this.#backoff ??= new Backoff(this.#random)
    const ms = Math.max(error.retryAfterMs ?? 0, this.#backoff.next())
    this.#clock.clearTimeout(this.#retry)
    this.#retry = this.#clock.setTimeout(() => {
      if (on.ready && !this.#attempt) again()
    }, ms)
  }

  succeeded(): void {
    this.#backoff = null
  }

  /** The answer does not matter any more. Returns how to tell whoever wanted to know. */
  abandon(): () => void {
    const settled = this.#attempt?.settled
    this.#attempt = null
    return settled ?? (() => {})
  }

  stop(): void {
    this.#attempt = null
    this.#clock.clearTimeout(this.#retry)
  }
}

function both(first: () => void, second: () => void): () => void {
  return () => {
    first()
    second()
  }
}
