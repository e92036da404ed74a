/**
 * What can be drawn: the elements of a board as the painter, the eraser and the export want them. Offsets are
 * applied, points are flat, and the bounds (of everything that gets ink, not only of the centre line) are known.
 */

import { inflate, type Point, type Rect } from './geometry'

interface Common {
  readonly id: string
  /** Its place in the pile; equal ones lie in the order of their ids. */
  readonly z: number
  readonly color: string
  readonly bounds: Rect
}

export interface StrokeShape extends Common {
  readonly kind: 'stroke'
  readonly width: number
  /** x and y in turn. */
  readonly xy: Float32Array
  /** One per point, 0 to 255; absent: as wide everywhere. */
  readonly pressure?: Uint8Array | undefined
}

export interface LineShape extends Common {
  readonly kind: 'line' | 'arrow'
  readonly width: number
  readonly from: Point
  readonly to: Point
}

export interface BoxShape extends Common {
  readonly kind: 'rectangle' | 'ellipse'
  readonly width: number
  readonly box: Rect
  readonly fill?: string | undefined
}

export interface TextShape extends Common {
  readonly kind: 'text'
  readonly size: number
  readonly at: Point
  readonly lines: readonly string[]
}

export interface NoteShape extends Common {
  readonly kind: 'note'
  readonly box: Rect
  readonly lines: readonly string[]
}

export type Shape = StrokeShape | LineShape | BoxShape | TextShape | NoteShape

/** How much wider than its nominal width a stroke gets under full pressure, and thinner under none. */
export const THINNING = 0.6

/** The pile from below: what is drawn first comes first. */
export function byDepth(a: Shape, b: Shape): number {
  return a.z - b.z || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

export function strokeBounds(xy: Float32Array, width: number): Rect {
  let left = Infinity
  let top = Infinity
  let right = -Infinity
  let bottom = -Infinity
  for (let i = 0; i + 1 < xy.length; i += 2) {
    const x = xy[i] as number
    const y = xy[i + 1] as number
    if (x < left) left = x
    if (x > right) right = x
    if (y < top) top = y
    if (y > bottom) bottom = y
  }
  return inflate({ left, top, right, bottom }, width * (0.5 + THINNING / 2) + 1)
}

/** The two barbs of an arrow's head, from the tip. Long arrows have heads in proportion to their width. */
export function arrowHead(from: Point, to: Point, width: number): readonly [Point, Point] {
  const length = Math.hypot(to.x - from.x, to.y - from.y)
  const reach = Math.min(8 + width * 3, Math.max(length * 0.6, width))
  const angle = Math.atan2(to.y - from.y, to.x - from.x)
  const barb = (turn: number): Point => ({
    x: to.x - reach * Math.cos(angle + turn),
    y: to.y - reach * Math.sin(angle + turn),
  })
  return [barb(0.5), barb(-0.5)]
}
