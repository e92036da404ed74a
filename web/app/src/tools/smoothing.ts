/**
 * What the hand meant: takes the jitter out of a pen's way, and gives a mouse or a finger the pressure it lacks.
 * Pure; times come with the samples.
 */

export interface Sample {
  /** Board units. */
  readonly x: number
  readonly y: number
  /** 0 to 1; absent where the device has none. */
  readonly pressure?: number | undefined
  /** Milliseconds. */
  readonly time: number
}

export interface InkPoint {
  readonly x: number
  readonly y: number
  /** 0 to 255. */
  readonly pressure: number
}

/** Milliseconds within which the line follows a slow hand; a fast one is followed at once, so nothing lags. */
const SLOW_LAG = 16
const FAST_LAG = 3
/** Screen pixels per millisecond. */
const FAST = 1.2
/** Within how many milliseconds a made-up pressure follows the speed. */
const PRESSURE_LAG = 55
/** A mouse begins with a fine point, as a pen that touches down does. */
const FIRST_PRESSURE = 0.32
/** Points nearer to each other than this many screen pixels say nothing new. */
const STEP = 0.75

export class Smoother {
  /** Screen pixels per board unit: how far is felt on the screen, not on the board. */
  readonly #zoom: number
  #last: { x: number; y: number; pressure: number; time: number } | undefined
  #emitted: InkPoint | undefined

  constructor(zoom: number) {
    this.#zoom = zoom
  }

  /** The next point of the line, if the hand got far enough for one. */
  add(sample: Sample): InkPoint | undefined {
    const last = this.#last
    if (!last) return this.#first(sample)
    const elapsed = Math.max(1, sample.time - last.time)
    const speed = (Math.hypot(sample.x - last.x, sample.y - last.y) * this.#zoom) / elapsed
    const follow = share(elapsed, lagAt(speed))
    const pressure = this.#pressure(sample, last.pressure, speed, elapsed)
    this.#last = {
      x: last.x + (sample.x - last.x) * follow,
      y: last.y + (sample.y - last.y) * follow,
      pressure,
      time: sample.time,
    }
    return this.#emit(this.#last, STEP)
  }

  /** The line ends where the hand ended. */
  end(sample: Sample): InkPoint | undefined {
    const last = this.#last
    if (!last) return this.#first(sample)
    return this.#emit({ x: sample.x, y: sample.y, pressure: last.pressure }, 0.25)
  }

  #first(sample: Sample): InkPoint {
    const pressure = sample.pressure ?? FIRST_PRESSURE
    this.#last = { x: sample.x, y: sample.y, pressure, time: sample.time }
    this.#emitted = inkPoint(this.#last)
    return this.#emitted
  }

  #pressure(sample: Sample, before: number, speed: number, elapsed: number): number {
    const wanted = sample.pressure ?? pressureAt(speed)
    const lag = sample.pressure === undefined ? PRESSURE_LAG : FAST_LAG
    return before + (wanted - before) * share(elapsed, lag)
  }

  #emit(point: { x: number; y: number; pressure: number }, step: number): InkPoint | undefined {
    const before = this.#emitted
    if (before && Math.hypot(point.x - before.x, point.y - before.y) * this.#zoom < step) return undefined
    this.#emitted = inkPoint(point)
    return this.#emitted
  }
}

/** How much of the way is gone after a while, if the rest shrinks to a third in every `lag`. */
const share = (elapsed: number, lag: number): number => 1 - Math.exp(-elapsed / lag)

function lagAt(speed: number): number {
  return SLOW_LAG + (FAST_LAG - SLOW_LAG) * Math.min(1, speed / FAST)
}

/** A slow hand presses, a fast one glides. */
export function pressureAt(speed: number): number {
  return 0.68 - 0.4 * Math.min(1, speed / 2.4)
}

function inkPoint({ x, y, pressure }: { x: number; y: number; pressure: number }): InkPoint {
  return { x, y, pressure: Math.round(Math.min(1, Math.max(0, pressure)) * 255) }
}
