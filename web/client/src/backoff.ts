/** When to try again, and what the code of a close asks for. */

import type { Random } from './clock.js'

const FIRST_MS = 500
const MOST_MS = 30_000

/** Full jitter: a random time between 0 and a bound that doubles with every attempt. */
export class Backoff {
  #attempts = 0

  constructor(readonly random: Random) {}

  next(): number {
    return this.random() * Math.min(MOST_MS, FIRST_MS * 2 ** this.#attempts++)
  }

  reset(): void {
    this.#attempts = 0
  }
}

/** What a client does after a close. */
export type Verdict =
  /** Reconnect after a random delay. */
  | 'jitter'
  /** Reconnect at once: the server said goodbye on purpose. */
  | 'now'
  /** Get fresh credentials, then reconnect. */
  | 'refresh'
  /** Reconnect and forget what was known of the rooms. */
  | 'scratch'
  /** Do not reconnect. */
  | 'never'

/** The range of the code decides, so that new codes need no new client. */
export function verdict(code: number): Verdict {
  if (code >= 4100 && code < 4200) return 'now'
  if (code >= 4200 && code < 4300) return 'refresh'
  if (code >= 4300 && code < 4400) return 'scratch'
  if (code >= 4500 && code < 4700) return 'never'
  return 'jitter'
}
