/**
 * The painted tiles: a bounded cache of small canvases. A change makes the tiles it touches stale, or, if it only adds
 * something on top, is added to them at once. Stale tiles are painted in slices of time, so that a crowded board never
 * holds up a hand that pans or draws.
 */

import { type Rect, intersection, intersects, union } from './geometry'
import type { Theme } from './ink'
import { Painter } from './painter'
import type { Change, Scene } from './scene'
import type { Shape } from './shape'
import { areaOf, keyOf, scaleOf, TILE, type TileId, touchedTiles } from './tiles'

export interface Tile extends TileId {
  readonly key: string
  readonly area: Rect
  /** Absent while nothing is painted here, be it that nothing lies here or that its turn has not come. */
  canvas: HTMLCanvasElement | undefined
  painted: boolean
  /** What has to be painted anew. A tile that was never painted is stale all over. */
  stale: Rect | undefined
  usedAt: number
}

/** Sheets kept for reuse. */
const SPARE_MAX = 16
/** Shapes drawn between two looks at the clock. */
const STRIDE = 12

export class TileStore {
  readonly #scene: Scene
  readonly #tiles = new Map<string, Tile>()
  readonly #spare: HTMLCanvasElement[] = []
  #theme: Theme
  #pixelRatio: number
  #capacity = 96
  #clock = 0
  #job: { tile: Tile; steps: Generator<void, void> } | undefined

  constructor(scene: Scene, theme: Theme, pixelRatio: number) {
    this.#scene = scene
    this.#theme = theme
    this.#pixelRatio = pixelRatio
  }

  get pixelRatio(): number {
    return this.#pixelRatio
  }

  /** Forgets every picture: the colours, the sharpness of the screen, or the whole board changed. */
  restart(theme: Theme, pixelRatio: number): void {
    this.#theme = theme
    this.#pixelRatio = pixelRatio
    this.#job = undefined
    for (const tile of this.#tiles.values()) this.#recycle(tile)
    this.#tiles.clear()
  }

  /** The tile, made if need be, and marked as in use. */
  use(id: TileId): Tile {
    const key = keyOf(id)
    let tile = this.#tiles.get(key)
    if (!tile) {
      const area = areaOf(id, this.#pixelRatio)
      tile = { ...id, key, area, canvas: undefined, painted: false, stale: area, usedAt: 0 }
      this.#tiles.set(key, tile)
    }
    tile.usedAt = ++this.#clock
    return tile
  }

  /** Painted tiles of other levels over an area, coarse ones first: stand-ins until the right ones are there. */
  standIns(area: Rect, level: number): Tile[] {
    const found = touchedTiles(this.#tiles.values(), area).filter((tile) => tile.level !== level && tile.canvas)
    return found.sort((a, b) => Math.abs(b.level - level) - Math.abs(a.level - level))
  }

  /** Makes room for about this many tiles on the screen, and as many again around and above them. */
  keep(onScreen: number): void {
    this.#capacity = Math.max(64, Math.ceil(onScreen * 2.5))
    if (this.#tiles.size <= this.#capacity) return
    const oldest = [...this.#tiles.values()].sort((a, b) => a.usedAt - b.usedAt)
    for (const tile of oldest.slice(0, this.#tiles.size - this.#capacity)) {
      if (this.#job?.tile === tile) this.#job = undefined
      this.#recycle(tile)
      this.#tiles.delete(tile.key)
    }
  }

  apply(change: Change): void {
    for (const tile of touchedTiles(this.#tiles.values(), change.area)) {
      if (change.added && this.#canAdd(tile, change.area)) this.#paintOnTop(tile, change.added)
      else this.#spoil(tile, change.area)
    }
  }

  #canAdd(tile: Tile, area: Rect): boolean {
    return tile.painted && this.#job?.tile !== tile && !(tile.stale && intersects(tile.stale, area))
  }

  #spoil(tile: Tile, area: Rect): void {
    const part = intersection(tile.area, area)
    if (part) tile.stale = union(tile.stale, part)
  }

  #paintOnTop(tile: Tile, shape: Shape): void {
    tile.canvas ??= this.#blank()
    const painter = this.#painterOn(tile, tile.canvas)
    painter.draw(shape)
    painter.flush()
  }

  /** Paints stale tiles, in the order given, until `deadline` (of `performance.now`). Says whether anything was painted. */
  paint(wanted: readonly Tile[], deadline: number): { painted: boolean; pending: boolean } {
    let painted = false
    // A job for a tile that nobody wants any more would only delay the others.
    if (this.#job && !wanted.includes(this.#job.tile)) this.#abandon()
    while (performance.now() < deadline) {
      if (!this.#job && !this.#begin(wanted)) return { painted, pending: false }
      if (this.#job?.steps.next().done) {
        this.#job = undefined
        painted = true
      }
    }
    return { painted, pending: this.#job !== undefined || wanted.some((tile) => tile.stale) }
  }

  #abandon(): void {
    if (this.#job) this.#job.tile.stale = this.#job.tile.area
    this.#job = undefined
  }

  #begin(wanted: readonly Tile[]): boolean {
    const tile = wanted.find((candidate) => candidate.stale)
    if (!tile) return false
    this.#job = { tile, steps: this.#paintTile(tile) }
    return true
  }

  /** Paints the stale part beside the tile and puts it in place when it is whole: nothing ever flickers. */
  *#paintTile(tile: Tile): Generator<void, void> {
    const part = pixelAligned(tile, tile.stale ?? tile.area, this.#pixelRatio)
    tile.stale = undefined
    const shapes = this.#scene.within(part.area)
    if (shapes.length === 0 && part.whole) return this.#empty(tile)
    yield
    const sheet = this.#blank()
    const painter = this.#painterOn(tile, sheet, part)
    for (let i = 0; i < shapes.length; i += 1) {
      painter.draw(shapes[i] as Shape)
      if (i % STRIDE === STRIDE - 1) yield
    }
    painter.flush()
    contextOf(sheet).restore()
    this.#place(tile, sheet, part)
  }

  #empty(tile: Tile): void {
    this.#recycle(tile)
    tile.painted = true
  }

  #place(tile: Tile, sheet: HTMLCanvasElement, part: PixelPart): void {
    tile.painted = true
    if (part.whole || !tile.canvas) {
      this.#recycle(tile)
      tile.canvas = sheet
      return
    }
    const context = contextOf(tile.canvas)
    const { x, y, width, height } = part
    context.setTransform(1, 0, 0, 1, 0, 0)
    context.clearRect(x, y, width, height)
    context.drawImage(sheet, x, y, width, height, x, y, width, height)
    this.#spare.push(sheet)
  }

  #painterOn(tile: Tile, canvas: HTMLCanvasElement, part?: PixelPart): Painter {
    const context = contextOf(canvas)
    const scale = scaleOf(tile.level, this.#pixelRatio)
    if (part) {
      context.save()
      context.beginPath()
      context.rect(part.x, part.y, part.width, part.height)
      context.clip()
    }
    context.setTransform(scale, 0, 0, scale, -tile.column * TILE, -tile.row * TILE)
    return new Painter(context, scale, this.#theme)
  }

  #blank(): HTMLCanvasElement {
    const canvas = this.#spare.pop() ?? document.createElement('canvas')
    canvas.width = TILE
    canvas.height = TILE
    return canvas
  }

  #recycle(tile: Tile): void {
    if (tile.canvas && this.#spare.length < SPARE_MAX) this.#spare.push(tile.canvas)
    tile.canvas = undefined
  }
}

interface PixelPart {
  readonly area: Rect
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  readonly whole: boolean
}

/** The part of a tile that covers an area, grown to whole pixels so that its seams cannot be seen. */
function pixelAligned(tile: Tile, area: Rect, pixelRatio: number): PixelPart {
  const scale = scaleOf(tile.level, pixelRatio)
  const x = Math.max(0, Math.floor((area.left - tile.area.left) * scale) - 1)
  const y = Math.max(0, Math.floor((area.top - tile.area.top) * scale) - 1)
  const right = Math.min(TILE, Math.ceil((area.right - tile.area.left) * scale) + 1)
  const bottom = Math.min(TILE, Math.ceil((area.bottom - tile.area.top) * scale) + 1)
  return {
    x,
    y,
    width: right - x,
    height: bottom - y,
    whole: x === 0 && y === 0 && right === TILE && bottom === TILE,
    area: {
      left: tile.area.left + x / scale,
      top: tile.area.top + y / scale,
      right: tile.area.left + right / scale,
      bottom: tile.area.top + bottom / scale,
    },
  }
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext('2d')
  if (!context) throw new Error('this browser has no 2d canvas')
  return context
}
