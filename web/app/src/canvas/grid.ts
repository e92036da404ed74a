/**
 * The spatial index: which elements lie near here? A stack of grids, each with cells twice as wide as the one
 * below; an element lives in the one where it touches at most four cells, so that adding, moving and removing
 * cost the same for a dot and for a line across the whole board.
 */

import { heightOf, intersects, type Rect, widthOf } from './geometry'

const FINEST_CELL = 128
/** 128 · 2^15 spans the protocol's whole plane. */
const LEVELS = 16
/** Cell numbers stay within ±2^15, so (level, column, row) pack into one exact number. */
const HALF = 1 << 15

interface Entry {
  readonly bounds: Rect
  readonly cells: readonly number[]
}

export class Grid {
  readonly #entries = new Map<string, Entry>()
  readonly #cells = new Map<number, Set<string>>()
  /** How many elements each level holds: empty levels need not be asked. */
  readonly #population = new Array<number>(LEVELS).fill(0)

  get size(): number {
    return this.#entries.size
  }

  boundsOf(id: string): Rect | undefined {
    return this.#entries.get(id)?.bounds
  }

  put(id: string, bounds: Rect): void {
    this.remove(id)
    const level = levelFor(bounds)
    const cells = [...cellsOf(level, bounds)]
    for (const cell of cells) this.#cell(cell).add(id)
    this.#entries.set(id, { bounds, cells })
    this.#population[level] = (this.#population[level] ?? 0) + 1
  }

  remove(id: string): Rect | undefined {
    const entry = this.#entries.get(id)
    if (!entry) return undefined
    for (const cell of entry.cells) {
      const ids = this.#cells.get(cell)
      ids?.delete(id)
      if (ids?.size === 0) this.#cells.delete(cell)
    }
    this.#entries.delete(id)
    const level = levelFor(entry.bounds)
    this.#population[level] = (this.#population[level] ?? 1) - 1
    return entry.bounds
  }

  clear(): void {
    this.#entries.clear()
    this.#cells.clear()
    this.#population.fill(0)
  }

  /** Every id whose bounds touch `area`, once, in no order. */
  query(area: Rect): Set<string> {
    const found = new Set<string>()
    for (let level = 0; level < LEVELS; level += 1) {
      if (this.#population[level]) this.#queryLevel(level, area, found)
    }
    return found
  }

  #queryLevel(level: number, area: Rect, found: Set<string>): void {
    const range = cellRange(level, area)
    const count = (range.right - range.left + 1) * (range.bottom - range.top + 1)
    // An area of more cells than there are elements: ask the elements instead.
    if (count > this.#entries.size) {
      for (const [id, entry] of this.#entries) if (intersects(entry.bounds, area)) found.add(id)
      return
    }
    for (const cell of cellsOf(level, area)) {
      for (const id of this.#cells.get(cell) ?? []) {
        const entry = this.#entries.get(id)
        if (entry && intersects(entry.bounds, area)) found.add(id)
      }
    }
  }

  #cell(key: number): Set<string> {
    let ids = this.#cells.get(key)
    if (!ids) this.#cells.set(key, (ids = new Set()))
    return ids
  }
}

function levelFor(bounds: Rect): number {
  const extent = Math.max(widthOf(bounds), heightOf(bounds))
  const level = extent <= FINEST_CELL ? 0 : Math.ceil(Math.log2(extent / FINEST_CELL))
  return Math.min(level, LEVELS - 1)
}

function cellRange(level: number, area: Rect): Rect {
  const cell = FINEST_CELL * 2 ** level
  const index = (value: number) => Math.max(-HALF, Math.min(HALF - 1, Math.floor(value / cell)))
  return { left: index(area.left), top: index(area.top), right: index(area.right), bottom: index(area.bottom) }
}

function* cellsOf(level: number, area: Rect): Generator<number> {
  const { left, top, right, bottom } = cellRange(level, area)
  for (let row = top; row <= bottom; row += 1) {
    for (let column = left; column <= right; column += 1) {
      yield (level * 2 * HALF + (row + HALF)) * 2 * HALF + (column + HALF)
    }
  }
}
