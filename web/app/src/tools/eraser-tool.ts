/**
 * The eraser: takes whole elements. What it has touched fades at once, and goes when the gesture ends, in one step that
 * one undo brings back.
 */

import type { Board, BoardOp } from '@enfilade/client'
import { PAPER } from '../canvas/ink'
import { touched } from '../canvas/hit'
import { type Context2D, Painter } from '../canvas/painter'
import type { Stage } from '../canvas/stage'
import type { Viewport } from '../canvas/viewport'
import type { Sample } from './smoothing'
import type { Tool } from './tool'

/** In screen pixels: what a fingertip covers, more or less. */
const ERASER_RADIUS = 9
/** The protocol's default bound of elements in one op. */
const ELEMENTS_PER_OP = 2_000

export class EraserTool implements Tool {
  readonly #board: Board
  readonly #stage: Stage
  readonly #stopOverlay: () => void
  readonly #doomed = new Set<string>()
  #last: Sample | undefined

  constructor(board: Board, stage: Stage) {
    this.#board = board
    this.#stage = stage
    this.#stopOverlay = stage.overlay((context, view, pixelRatio) => this.#paintDoomed(context, view, pixelRatio))
  }

  down(sample: Sample): void {
    this.cancel()
    this.#last = sample
    this.move([sample])
  }

  move(samples: readonly Sample[]): void {
    const radius = ERASER_RADIUS / this.#stage.view.zoom
    for (const sample of samples) {
      for (const id of touched(this.#stage.scene, this.#last ?? sample, sample, radius)) this.#doomed.add(id)
      this.#last = sample
    }
    this.#stage.touchOverlay()
  }

  up(sample: Sample): void {
    this.move([sample])
    const ops = deletions([...this.#doomed].filter((id) => this.#stage.scene.get(id)))
    this.cancel()
    // As with the pen: refusals and losses are told elsewhere.
    if (ops.length > 0) this.#board.submit(...ops).catch(() => undefined)
  }

  cancel(): void {
    this.#doomed.clear()
    this.#last = undefined
    this.#stage.touchOverlay()
  }

  close(): void {
    this.cancel()
    this.#stopOverlay()
  }

  #paintDoomed(context: Context2D, view: Viewport, pixelRatio: number): boolean {
    if (this.#doomed.size === 0) return false
    context.save()
    context.globalAlpha = 0.78
    const painter = new Painter(context, view.zoom * pixelRatio, 'light')
    for (const id of this.#doomed) {
      const shape = this.#stage.scene.get(id)
      // Drawn over in the colour of the paper: what remains of the ink is its shadow.
      if (shape) painter.draw({ ...shape, color: PAPER[this.#stage.theme] })
    }
    painter.flush()
    context.restore()
    return false
  }
}

/** As few ops as the limit allows. */
export function deletions(ids: readonly string[], limit = ELEMENTS_PER_OP): BoardOp[] {
  const ops: BoardOp[] = []
  for (let at = 0; at < ids.length; at += limit) {
    ops.push({ type: 'delete', data: { elements: ids.slice(at, at + limit) } })
  }
  return ops
}
