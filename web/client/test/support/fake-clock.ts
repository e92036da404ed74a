/** A clock that stands still until it is told to go on. */

import type { Clock } from '../../src/clock.js'

interface Timer {
  at: number
  order: number
  fn: () => void
}

export class FakeClock implements Clock {
  #now = 1_767_225_600_000
  #order = 0
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#now
  }

  setTimeout(fn: () => void, ms: number): unknown {
    const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, fn }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(handle: unknown): void {
    this.#timers.delete(handle as Timer)
  }

  get pending(): number {
    return this.#timers.size
  }

  /** Lets time pass; everything that becomes due happens, and what follows from it. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settled()
    for (let timer = this.#due(until); timer; timer = this.#due(until)) {
      this.#timers.delete(timer)
      this.#now = Math.max(this.#now, timer.at)
      timer.fn()
      await settled()
    }
    this.#now = until
  }

  #due(until: number): Timer | undefined {
    const due = [...this.#timers].filter(({ at }) => at <= until)
    return due.sort((a, b) => a.at - b.at || a.order - b.order)[0]
  }
}

/** Resolves when every promise that could go on has gone on. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}
