/** Signals that wait for their turn: the latest of each key, and a bounded number of keys. */

import type { Json } from './types.js'

/** More keys than anybody sends in a second; beyond it the oldest are lost, as signals may be. */
const MOST_KEYS = 64

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
