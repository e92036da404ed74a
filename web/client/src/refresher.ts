/** Gets a new token before the old one runs out, and hands it to the living connection. */

import type { Clock, Random } from './clock.js'
import { type Identification, refreshAfterMs } from './credentials.js'

const RETRY_MS = 5_000

export class Refresher {
  #timer: unknown
  #busy = false
  #stopped = false

  constructor(
    readonly identification: Identification,
    readonly clock: Clock,
    readonly random: Random,
    readonly send: (token: string) => void,
    readonly failed: (error: unknown) => void,
  ) {}

  /** Some time before the token runs out, if there is one. */
  schedule(): void {
    const { expiresAt } = this.identification
    this.clock.clearTimeout(this.#timer)
    if (expiresAt !== undefined) this.#after(refreshAfterMs(expiresAt, this.clock.now(), this.random))
  }

  /** The server did not take the token, or the application had no new one. */
  again(): void {
    this.#after(RETRY_MS)
  }

  async now(): Promise<void> {
    if (this.#busy || this.#stopped) return
    this.#busy = true
    this.clock.clearTimeout(this.#timer)
    try {
      const before = this.identification.token
      const { token } = await this.identification.ask()
      if (token === undefined || token === before) return this.again()
      this.schedule()
      if (!this.#stopped) this.send(token)
    } catch (error) {
      this.failed(error)
      this.again()
    } finally {
      this.#busy = false
    }
  }

  stop(): void {
    this.#stopped = true
    this.clock.clearTimeout(this.#timer)
  }

  #after(ms: number): void {
    this.clock.clearTimeout(this.#timer)
    if (!this.#stopped) this.#timer = this.clock.setTimeout(() => void this.now(), ms)
  }
}
