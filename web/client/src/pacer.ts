/** A token bucket that stays below a rate the server enforces, so that its limit is a queue here and no error there. */

export class Pacer {
  #tokens: number
  #at: number

  /** A second's worth may go at once (the server allows more); after that, nine tenths of the rate. */
  constructor(
    readonly perSecond: number,
    now: number,
  ) {
    this.#tokens = perSecond
    this.#at = now
  }

  /** Whether one may go now; if so it is counted. */
  take(now: number): boolean {
    this.#refill(now)
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  /** How long until the next may go. */
  waitMs(now: number): number {
    this.#refill(now)
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs)
  }

  get #perMs(): number {
    return (this.perSecond * 0.9) / 1_000
  }

  #refill(now: number): void {
    // A clock that was set back must not stop the refill for as long.
    const passed = Math.max(0, now - this.#at)
    this.#tokens = Math.min(this.perSecond, this.#tokens + passed * this.#perMs)
    this.#at = now
  }
}
