/**
 * Everything that lies on the board, findable by place. Says of each change which area must be painted anew, and whether
 * painting on top would do.
 */

import { type Rect, union } from './geometry'
import { Grid } from './grid'
import { byDepth, type Shape } from './shape'

export interface Change {
  readonly area: Rect
  /** The new shape lies above everything: what is already painted stays right, it only has to be added. */
  readonly added?: Shape
}

export class Scene {
  readonly #shapes = new Map<string, Shape>()
  readonly #grid = new Grid()
  #topmost: Shape | undefined
  #bounds: Rect | undefined
  #boundsStale = false

  get size(): number {
    return this.#shapes.size
  }

  ids(): Iterable<string> {
    return this.#shapes.keys()
  }

  get(id: string): Shape | undefined {
    return this.#shapes.get(id)
  }

  put(shape: Shape): Change {
    const before = this.#shapes.get(shape.id)
    this.#shapes.set(shape.id, shape)
    this.#grid.put(shape.id, shape.bounds)
    const above = !this.#topmost || byDepth(shape, this.#topmost) > 0
    if (above) this.#topmost = shape
    this.#boundsStale = true
    if (before) return { area: union(before.bounds, shape.bounds) }
    return above ? { area: shape.bounds, added: shape } : { area: shape.bounds }
  }

  remove(id: string): Change | undefined {
    const shape = this.#shapes.get(id)
    if (!shape) return undefined
    this.#shapes.delete(id)
    this.#grid.remove(id)
    this.#boundsStale = true
    // `#topmost` may now be a shape that is gone: that errs towards painting an area anew, never towards a wrong pile.
    return { area: shape.bounds }
  }

  clear(): void {
    this.#shapes.clear()
    this.#grid.clear()
    this.#topmost = undefined
    this.#bounds = undefined
    this.#boundsStale = false
  }

  /** The shapes that touch an area, lowest first. */
  within(area: Rect): Shape[] {
    const found: Shape[] = []
    for (const id of this.#grid.query(area)) {
      const shape = this.#shapes.get(id)
      if (shape) found.push(shape)
    }
    return found.sort(byDepth)
  }

  /** All shapes, lowest first. */
  all(): Shape[] {
    return [...this.#shapes.values()].sort(byDepth)
  }

  /** The smallest rectangle around everything; nothing has none. */
  get bounds(): Rect | undefined {
    if (this.#boundsStale) {
      this.#bounds = undefined
      for (const shape of this.#shapes.values()) this.#bounds = union(this.#bounds, shape.bounds)
      this.#boundsStale = false
    }
    return this.#bounds
  }
}
