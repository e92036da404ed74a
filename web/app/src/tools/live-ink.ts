/**
 * The strokes that others are drawing at this moment. Their points arrive in handfuls, some thirty times a second; here
 * they flow, so that the line grows as if the pen were on this table.
 */

import type { Board } from '@enfilade/client'
import { shown } from '../canvas/ink'
import { outline, traceOutline } from '../canvas/outline'
import type { Context2D } from '../canvas/painter'
import type { Stage } from '../canvas/stage'

/** Milliseconds in which most of what is still hidden gets shown. */
const FLOW = 45

export class LiveInk {
  readonly #board: Board
  readonly #stage: Stage
  /** How many points of each stroke are shown; fractions are on their way. */
  readonly #shown = new Map<string, number>()
  readonly #stop: (() => void)[]
  #before = 0

  constructor(board: Board, stage: Stage) {
    this.#board = board
    this.#stage = stage
    this.#stop = [
      board.on('live', () => stage.touchOverlay()),
      stage.overlay((context, _view, _ratio, now) => this.#paint(context, now)),
    ]
  }

  close(): void {
    for (const stop of this.#stop) stop()
  }

  #paint(context: Context2D, now: number): boolean {
    const elapsed = Math.min(100, now - this.#before)
    this.#before = now
    let flowing = false
    for (const id of this.#shown.keys()) if (!this.#board.live.has(id)) this.#shown.delete(id)
    for (const [id, stroke] of this.#board.live) {
      const total = stroke.points.length / 2
      const before = this.#shown.get(id) ?? 0
      const now = Math.min(total, before + Math.max(0.5, (total - before) * (1 - Math.exp(-elapsed / FLOW))))
      this.#shown.set(id, now)
      flowing ||= now < total
      const count = Math.max(1, Math.floor(now))
      context.fillStyle = shown(stroke.color, this.#stage.theme)
      context.beginPath()
      const pressure = stroke.pressure?.subarray(0, count)
      traceOutline(context, outline(stroke.points.subarray(0, count * 2), pressure, stroke.width, { growing: true }))
      context.fill()
    }
    return flowing
  }
}
