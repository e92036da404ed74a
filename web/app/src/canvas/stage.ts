/**
 * The canvas that is seen: two sheets over each other. The lower one shows the board, put together from painted tiles;
 * the upper one everything that changes with every frame (ink that is still wet, the eraser). One animation frame at a
 * time, and none while nothing changes.
 */

import type { Rect } from './geometry'
import { PAPER, type Theme } from './ink'
import { FACE, type Measure } from './lettering'
import type { Context2D } from './painter'
import { paintDots } from './paper'
import { type Change, Scene } from './scene'
import { type Tile, TileStore } from './tile-store'
import { levelFor, scaleOf, tilesOver } from './tiles'
import { fit, HOME, resized, type Size, type Viewport, visible } from './viewport'

/** Draws on the upper sheet, in board units; answers whether it wants another frame. */
export type Overlay = (context: Context2D, view: Viewport, pixelRatio: number, now: number) => boolean

/** Milliseconds of a frame that may go into painting tiles. */
const PAINT_BUDGET = 9

export class Stage {
  readonly scene = new Scene()
  readonly #lower: HTMLCanvasElement
  readonly #upper: HTMLCanvasElement
  readonly #tiles: TileStore
  readonly #overlays = new Set<Overlay>()
  readonly #watchers = new Set<(view: Viewport) => void>()
  #view: Viewport = HOME
  #size: Size = { width: 0, height: 0 }
  #theme: Theme
  #frame = 0
  #lowerStale = true
  #upperStale = true
  /** While a large board comes in, painting would only be done again and again. */
  #holding = false
  #closed = false

  constructor(lower: HTMLCanvasElement, upper: HTMLCanvasElement, theme: Theme) {
    this.#lower = lower
    this.#upper = upper
    this.#theme = theme
    this.#tiles = new TileStore(this.scene, theme, devicePixelRatio)
  }

  get view(): Viewport {
    return this.#view
  }

  get size(): Size {
    return this.#size
  }

  get theme(): Theme {
    return this.#theme
  }

  set theme(theme: Theme) {
    if (theme === this.#theme) return
    this.#theme = theme
    this.repaintAll()
  }

  look(view: Viewport): void {
    if (view === this.#view) return
    this.#view = view
    this.#lowerStale = true
    this.#upperStale = true
    for (const watcher of this.#watchers) watcher(view)
    this.#wake()
  }

  lookAtEverything(): void {
    this.look(fit(this.scene.bounds, this.#size, Math.min(96, this.#size.width / 10)))
  }

  /** Tells of every change of the view, until the answer is called. */
  onLook(watcher: (view: Viewport) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  resize(size: Size): void {
    // A page that is being taken down has no size, and should keep its view.
    if (size.width === 0 || size.height === 0) return
    if (this.#size.width > 0) this.look(resized(this.#view, this.#size, size))
    this.#size = size
    const ratio = devicePixelRatio
    for (const sheet of [this.#lower, this.#upper]) {
      sheet.width = Math.round(size.width * ratio)
      sheet.height = Math.round(size.height * ratio)
    }
    if (ratio !== this.#tiles.pixelRatio) this.repaintAll()
    this.#lowerStale = true
    this.#upperStale = true
    this.#wake()
  }

  changed(change: Change | undefined): void {
    // Whoever holds has everything painted anew in the end.
    if (!change || this.#holding) return
    this.#tiles.apply(change)
    this.#lowerStale = true
    this.#wake()
  }

  repaintAll(): void {
    this.#tiles.restart(this.#theme, devicePixelRatio)
    this.#lowerStale = true
    this.#upperStale = true
    this.#wake()
  }

  hold(holding: boolean): void {
    if (this.#holding === holding) return
    this.#holding = holding
    if (!holding) this.repaintAll()
  }

  /** Adds something to the upper sheet; the answer takes it away. */
  overlay(overlay: Overlay): () => void {
    this.#overlays.add(overlay)
    this.touchOverlay()
    return () => {
      this.#overlays.delete(overlay)
      this.touchOverlay()
    }
  }

  touchOverlay(): void {
    this.#upperStale = true
    this.#wake()
  }

  close(): void {
    this.#closed = true
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
  }

  #wake(): void {
    if (this.#frame === 0 && !this.#closed) this.#frame = requestAnimationFrame((now) => this.#draw(now))
  }

  #draw(now: number): void {
    this.#frame = 0
    const inSight = this.#inSight()
    const { painted, pending } = this.#holding
      ? { painted: false, pending: false }
      : this.#tiles.paint(inSight, performance.now() + PAINT_BUDGET)
    if (painted || this.#lowerStale) this.#compose(inSight)
    const again = this.#upperStale && this.#drawOverlays(now)
    if (pending || again) this.#wake()
  }

  #inSight(): Tile[] {
    const level = levelFor(this.#view.zoom)
    const ids = tilesOver(visible(this.#view, this.#size), level, this.#tiles.pixelRatio)
    const tiles = ids.map((id) => this.#tiles.use(id))
    this.#tiles.keep(tiles.length)
    return tiles
  }

  #compose(inSight: readonly Tile[]): void {
    this.#lowerStale = false
    const context = contextOf(this.#lower)
    const { width, height } = this.#lower
    context.setTransform(1, 0, 0, 1, 0, 0)
    context.fillStyle = PAPER[this.#theme]
    context.fillRect(0, 0, width, height)
    paintDots(context, this.#view, this.#tiles.pixelRatio, this.#theme)
    for (const tile of inSight) if (!tile.painted) this.#standIn(context, tile)
    for (const tile of inSight) if (tile.canvas) this.#blit(context, tile)
  }

  #standIn(context: CanvasRenderingContext2D, tile: Tile): void {
    const place = this.#place(tile.area)
    context.save()
    context.beginPath()
    context.rect(place.x, place.y, place.width, place.height)
    context.clip()
    for (const other of this.#tiles.standIns(tile.area, tile.level)) this.#blit(context, other)
    context.restore()
  }

  #blit(context: CanvasRenderingContext2D, tile: Tile): void {
    if (!tile.canvas) return
    const { x, y, width, height } = this.#place(tile.area)
    const exact = scaleOf(tile.level, 1) === this.#view.zoom
    context.imageSmoothingEnabled = !exact
    context.drawImage(tile.canvas, x, y, width, height)
  }

  /** Where an area lies in device pixels; both edges are rounded, so that neighbours meet without a seam. */
  #place(area: Rect): { x: number; y: number; width: number; height: number } {
    const scale = this.#view.zoom * this.#tiles.pixelRatio
    const x = Math.round((area.left - this.#view.x) * scale)
    const y = Math.round((area.top - this.#view.y) * scale)
    const right = Math.round((area.right - this.#view.x) * scale)
    const bottom = Math.round((area.bottom - this.#view.y) * scale)
    return { x, y, width: right - x, height: bottom - y }
  }

  #drawOverlays(now: number): boolean {
    this.#upperStale = false
    const context = contextOf(this.#upper)
    context.setTransform(1, 0, 0, 1, 0, 0)
    context.clearRect(0, 0, this.#upper.width, this.#upper.height)
    const ratio = this.#tiles.pixelRatio
    const scale = this.#view.zoom * ratio
    let again = false
    for (const overlay of this.#overlays) {
      context.setTransform(scale, 0, 0, scale, -this.#view.x * scale, -this.#view.y * scale)
      again = overlay(context, this.#view, ratio, now) || again
    }
    if (again) this.#upperStale = true
    return again
  }
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext('2d')
  if (!context) throw new Error('this browser has no 2d canvas')
  return context
}

/** Measures text with the board's face. */
export function measurer(): Measure {
  const context = contextOf(document.createElement('canvas'))
  return (text, size) => {
    context.font = `${size}px ${FACE}`
    return context.measureText(text).width
  }
}
