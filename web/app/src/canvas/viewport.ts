/**
 * Which part of the plane is seen, and how large. A viewport is a value: moving it makes a new one.
 * `x`, `y` is the board point in the screen's top left corner; screen points are CSS pixels of the canvas.
 */

import { clamp, heightOf, type Point, type Rect, widthOf } from './geometry'

export interface Viewport {
  readonly x: number
  readonly y: number
  readonly zoom: number
}

export interface Size {
  readonly width: number
  readonly height: number
}

export const ZOOM_MIN = 0.05
export const ZOOM_MAX = 4
/** The protocol's plane ends at ±1,000,000; the view stops a little before it loses sight of it. */
const REACH = 1_000_000

/** Steps of the zoom buttons and keys: each is a round number of percent. */
const ZOOM_STEPS = [0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 4] as const

export const HOME: Viewport = { x: 0, y: 0, zoom: 1 }

export function toBoard(view: Viewport, screen: Point): Point {
  return { x: view.x + screen.x / view.zoom, y: view.y + screen.y / view.zoom }
}

export function toScreen(view: Viewport, board: Point): Point {
  return { x: (board.x - view.x) * view.zoom, y: (board.y - view.y) * view.zoom }
}

export function visible(view: Viewport, size: Size): Rect {
  return {
    left: view.x,
    top: view.y,
    right: view.x + size.width / view.zoom,
    bottom: view.y + size.height / view.zoom,
  }
}

/** Moves the paper with the hand: `dx`, `dy` in screen pixels. */
export function panBy(view: Viewport, dx: number, dy: number): Viewport {
  return {
    x: clamp(view.x - dx / view.zoom, -REACH, REACH),
    y: clamp(view.y - dy / view.zoom, -REACH, REACH),
    zoom: view.zoom,
  }
}

/** Zooms so that the board point under `anchor` (screen) stays where it is. */
export function zoomAt(view: Viewport, anchor: Point, zoom: number): Viewport {
  const next = clamp(zoom, ZOOM_MIN, ZOOM_MAX)
  const fixed = toBoard(view, anchor)
  return {
    x: clamp(fixed.x - anchor.x / next, -REACH, REACH),
    y: clamp(fixed.y - anchor.y / next, -REACH, REACH),
    zoom: next,
  }
}

/** The next round zoom in a direction, so that repeated steps land on 100 %. */
export function zoomStep(zoom: number, direction: 1 | -1): number {
  const steps = direction > 0 ? ZOOM_STEPS : [...ZOOM_STEPS].reverse()
  // A hair of tolerance: a wheel that stopped at 99.99 % counts as 100 %.
  const beyond = steps.find((step) => (direction > 0 ? step > zoom * 1.001 : step < zoom * 0.999))
  return beyond ?? steps[steps.length - 1] ?? zoom
}

/** Two fingers: the board points under them stay under them as they move from `before` to `after`. */
export function pinch(view: Viewport, before: readonly [Point, Point], after: readonly [Point, Point]): Viewport {
  const distance = ([a, b]: readonly [Point, Point]) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y))
  const middle = ([a, b]: readonly [Point, Point]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 })
  const from = middle(before)
  const to = middle(after)
  const zoomed = zoomAt(view, from, view.zoom * (distance(after) / distance(before)))
  return panBy(zoomed, to.x - from.x, to.y - from.y)
}

/** Everything in sight, centred, never larger than life. */
export function fit(bounds: Rect | undefined, size: Size, margin = 64): Viewport {
  if (!bounds) return { x: -size.width / 2, y: -size.height / 2, zoom: 1 }
  const room = {
    width: Math.max(1, size.width - 2 * margin),
    height: Math.max(1, size.height - 2 * margin),
  }
  const wanted = Math.min(room.width / Math.max(1, widthOf(bounds)), room.height / Math.max(1, heightOf(bounds)))
  const zoom = clamp(wanted, ZOOM_MIN, 1)
  return {
    x: (bounds.left + bounds.right) / 2 - size.width / 2 / zoom,
    y: (bounds.top + bounds.bottom) / 2 - size.height / 2 / zoom,
    zoom,
  }
}

/** Keeps the middle of the screen in the middle when the window changes its size. */
export function resized(view: Viewport, from: Size, to: Size): Viewport {
  return {
    ...view,
    x: view.x + (from.width - to.width) / 2 / view.zoom,
    y: view.y + (from.height - to.height) / 2 / view.zoom,
  }
}
