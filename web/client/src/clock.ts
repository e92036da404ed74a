/** Time and chance, handed in, so that a test plays an hour in a millisecond. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  setTimeout(fn: () => void, ms: number): unknown
  clearTimeout(handle: unknown): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (handle) => clearTimeout(handle as ReturnType<typeof setTimeout>),
}

/** A number from 0 (included) to 1 (not). */
export type Random = () => number
