/** A pen on a board: tells the others the stroke while it grows, and submits it when it lifts. */

import { KEEPALIVE_MS, StrokeBuilder } from './live.js'
import type { Json, Points, Pressure, StrokeData } from './types.js'

/** What a pen needs of the board around it. */
export interface PenHost {
  now(): number
  signal(body: Json): void
  /** There is something to send at the next tick. */
  wake(): void
  submit(stroke: StrokeData): Promise<number>
  /** The pen has lifted. */
  lifted(pen: Pen): void
}

/** A stroke that this person is drawing at this moment. */
export class Pen {
  readonly #builder: StrokeBuilder
  readonly #host: PenHost
  #saidAt = 0
  #down = true

  /** Made by `Board.pen`. */
  constructor(builder: StrokeBuilder, host: PenHost) {
    this.#builder = builder
    this.#host = host
  }

  get element(): string {
    return this.#builder.element
  }

  get points(): Points {
    return this.#builder.points
  }

  get pressure(): Pressure | undefined {
    return this.#builder.pressure
  }

  /** No further point fits into one stroke: finish it, and go on with another one from its last point. */
  get full(): boolean {
    return this.#builder.full
  }

  /** The pen moves. Coordinates in units; pressure, 0 to 255, for every point or for none. */
  add(x: number, y: number, pressure?: number): void {
    if (!this.#down) return
    this.#builder.add(x, y, pressure)
    this.#host.wake()
  }

  /** The pen lifts: submits the stroke, as `Board.submit` does. */
  async finish(): Promise<number> {
    this.#lift()
    const { element, color, width, points, pressure } = this.#builder
    return this.#host.submit({ element, color, width, points, ...(pressure && { pressure }) })
  }

  /** Takes it all back. */
  cancel(): void {
    if (!this.#down) return
    this.#lift()
    this.#host.signal({ element: this.element, cancel: true })
  }

  /** Sends what is new; from time to time a sign of life. */
  tick(): void {
    const now = this.#host.now()
    const quiet = now - this.#saidAt >= KEEPALIVE_MS
    for (let piece = this.#builder.piece(); piece; piece = this.#builder.piece()) this.#say(piece, now)
    if (quiet && this.#saidAt !== now) this.#say(this.#builder.again(), now)
  }

  #say(piece: Json, now: number): void {
    if (!piece) return
    this.#saidAt = now
    this.#host.signal(piece)
  }

  #lift(): void {
    this.#down = false
    this.#host.lifted(this)
  }
}
