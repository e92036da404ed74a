/**
 * Carries the board's changes to the stage. A few changes go over at once, so that a stroke is dry in the same frame in
 * which it was wet; many go over in slices, so that opening a large board never freezes the page.
 */

import type { Board, ChangeSet } from '@enfilade/client'
import type { Measure } from '../canvas/lettering'
import { shapeOf } from '../canvas/shape-of'
import type { Stage } from '../canvas/stage'

/** Elements that may be carried over without looking at the clock. */
const FEW = 300
const SLICE_MS = 10

export class Feed {
  readonly #board: Board
  readonly #stage: Stage
  readonly #measure: Measure
  readonly #stop: (() => void)[]
  readonly #waiting = new Set<string>()
  readonly #onFilled: () => void
  readonly #onCount: (elements: number) => void
  #timer = 0
  #filled = false

  /** `onFilled` is called once: when all that was there at the beginning is on the stage. */
  constructor(board: Board, stage: Stage, measure: Measure, onFilled: () => void, onCount: (elements: number) => void) {
    this.#board = board
    this.#stage = stage
    this.#measure = measure
    this.#onFilled = onFilled
    this.#onCount = onCount
    this.#stop = [board.on('change', (change) => this.#take(change)), board.room.on('joined', () => this.#settle())]
    if (board.loaded) this.#take({ all: true, ids: new Set() })
  }

  close(): void {
    for (const stop of this.#stop) stop()
    cancelAnimationFrame(this.#timer)
  }

  #take(change: ChangeSet): void {
    for (const id of change.all ? this.#everything() : change.ids) this.#waiting.add(id)
    if (this.#timer !== 0) return
    if (this.#waiting.size <= FEW) this.#carry(Infinity)
    else this.#carryOn()
  }

  *#everything(): Generator<string> {
    yield* this.#stage.scene.ids()
    for (const element of this.#board.elements()) yield element.element
  }

  #carryOn(): void {
    this.#stage.hold(true)
    this.#timer = requestAnimationFrame(() => {
      this.#timer = 0
      this.#carry(performance.now() + SLICE_MS)
    })
  }

  #carry(deadline: number): void {
    let count = 0
    for (const id of this.#waiting) {
      this.#waiting.delete(id)
      this.#carryOne(id)
      count += 1
      if (count % 64 === 0 && performance.now() > deadline) return this.#carryOn()
    }
    this.#stage.hold(false)
    this.#onCount(this.#stage.scene.size)
    this.#settle()
  }

  /** What was there at the beginning may come in two parts: a snapshot, and what happened since. */
  #settle(): void {
    if (this.#filled || this.#waiting.size > 0 || this.#board.room.state !== 'joined') return
    this.#filled = true
    this.#onFilled()
  }

  #carryOne(id: string): void {
    const element = this.#board.view(id)
    const { scene } = this.#stage
    this.#stage.changed(element ? scene.put(shapeOf(element, this.#measure)) : scene.remove(id))
  }
}
