/**
 * The pen: the stroke grows under the hand at once, goes to the others while it grows, and is saved when the pen lifts.
 * A stroke that gets long is saved in parts, each beginning where the last one ended.
 */

import type { Board, Pen } from '@enfilade/client'
import { type Context2D } from '../canvas/painter'
import { shown } from '../canvas/ink'
import { outline, traceOutline } from '../canvas/outline'
import type { Stage } from '../canvas/stage'
import { type InkPoint, type Sample, Smoother } from './smoothing'
import type { Tool } from './tool'

/** Points of one op: well under the frame and stroke limits of the protocol, and quick to outline in every frame. */
export const PART_POINTS = 4_000

export interface PenStyle {
  readonly color: string
  readonly width: number
}

export class PenTool implements Tool {
  readonly #board: Board
  readonly #stage: Stage
  readonly #style: () => PenStyle
  readonly #stopOverlay: () => void
  #pen: Pen | undefined
  #count = 0
  #drawing: PenStyle = { color: '#000000', width: 1 }
  #smoother: Smoother | undefined
  #ahead: readonly Sample[] = []

  constructor(board: Board, stage: Stage, style: () => PenStyle) {
    this.#board = board
    this.#stage = stage
    this.#style = style
    this.#stopOverlay = stage.overlay((context) => this.#paintWet(context))
  }

  down(sample: Sample): void {
    this.cancel()
    this.#drawing = this.#style()
    this.#smoother = new Smoother(this.#stage.view.zoom)
    this.#begin()
    this.#add(this.#smoother.add(sample))
  }

  move(samples: readonly Sample[], predicted: readonly Sample[]): void {
    for (const sample of samples) this.#add(this.#smoother?.add(sample))
    this.#ahead = predicted
    this.#stage.touchOverlay()
  }

  up(sample: Sample): void {
    this.#add(this.#smoother?.end(sample))
    this.#finish()
    this.#smoother = undefined
  }

  cancel(): void {
    this.#pen?.cancel()
    this.#pen = undefined
    this.#smoother = undefined
    this.#stage.touchOverlay()
  }

  close(): void {
    this.cancel()
    this.#stopOverlay()
  }

  #add(point: InkPoint | undefined): void {
    if (!point || !this.#pen) return
    this.#put(point)
    if (!this.#pen.full && this.#count < PART_POINTS) return
    this.#finish()
    this.#begin()
    this.#put(point)
  }

  #begin(): void {
    this.#pen = this.#board.pen({ ...this.#drawing })
    this.#count = 0
  }

  #put(point: InkPoint): void {
    this.#pen?.add(point.x, point.y, point.pressure)
    this.#count += 1
  }

  #finish(): void {
    const pen = this.#pen
    this.#pen = undefined
    this.#ahead = []
    // A refusal is told by the board's `rejected`; a lost connection by the indicator.
    pen?.finish().catch(() => undefined)
    this.#stage.touchOverlay()
  }

  #paintWet(context: Context2D): boolean {
    const pen = this.#pen
    if (!pen || pen.points.length === 0) return false
    const xy = [...pen.points]
    const pressure = [...(pen.pressure ?? [])]
    for (const sample of this.#ahead) {
      xy.push(sample.x, sample.y)
      pressure.push(pressure.at(-1) ?? 128)
    }
    context.fillStyle = shown(this.#drawing.color, this.#stage.theme)
    context.beginPath()
    traceOutline(context, outline(xy, pressure, this.#drawing.width, { growing: true }))
    context.fill()
    return false
  }
}
