/** What the eraser touches: the ink of a shape, not its bounds. */

import { distanceBetweenSegments, inflate, intersects, type Point, type Rect, spanning } from './geometry'
import { isClear } from './ink'
import type { Scene } from './scene'
import { arrowHead, type BoxShape, type LineShape, type Shape, type StrokeShape } from './shape'

/** Chords that stand in for the curve of an ellipse. */
const ELLIPSE_CHORDS = 48

/** Ids of the shapes that an eraser of this radius touches on its way between two points. */
export function touched(scene: Scene, from: Point, to: Point, radius: number): string[] {
  const way = inflate(spanning(from, to), radius)
  return scene
    .within(way)
    .filter((shape) => touches(shape, from, to, radius))
    .map((shape) => shape.id)
}

export function touches(shape: Shape, from: Point, to: Point, radius: number): boolean {
  if (!intersects(shape.bounds, inflate(spanning(from, to), radius))) return false
  switch (shape.kind) {
    case 'stroke':
      return near(strokeSegments(shape), from, to, radius + shape.width / 2)
    case 'line':
    case 'arrow':
      return near(lineSegments(shape), from, to, radius + shape.width / 2)
    case 'rectangle':
    case 'ellipse':
      return touchesBox(shape, from, to, radius)
    case 'text':
      return true
    case 'note':
      return intersects(shape.box, inflate(spanning(from, to), radius))
  }
}

type Segment = readonly [ax: number, ay: number, bx: number, by: number]

function near(segments: Iterable<Segment>, from: Point, to: Point, reach: number): boolean {
  for (const [ax, ay, bx, by] of segments) {
    if (distanceBetweenSegments(from.x, from.y, to.x, to.y, ax, ay, bx, by) <= reach) return true
  }
  return false
}

function* strokeSegments({ xy }: StrokeShape): Generator<Segment> {
  if (xy.length === 2) yield [xy[0] as number, xy[1] as number, xy[0] as number, xy[1] as number]
  for (let i = 0; i + 3 < xy.length; i += 2) {
    yield [xy[i] as number, xy[i + 1] as number, xy[i + 2] as number, xy[i + 3] as number]
  }
}

function* lineSegments({ kind, from, to, width }: LineShape): Generator<Segment> {
  yield [from.x, from.y, to.x, to.y]
  if (kind === 'line') return
  for (const barb of arrowHead(from, to, width)) yield [barb.x, barb.y, to.x, to.y]
}

function touchesBox(shape: BoxShape, from: Point, to: Point, radius: number): boolean {
  if (!isClear(shape.fill) && (inside(shape, from) || inside(shape, to))) return true
  const edge = shape.kind === 'rectangle' ? rectangleEdge(shape.box) : ellipseEdge(shape.box)
  return near(edge, from, to, radius + shape.width / 2)
}

function inside({ kind, box }: BoxShape, { x, y }: Point): boolean {
  if (kind === 'rectangle') return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom
  const rx = (box.right - box.left) / 2
  const ry = (box.bottom - box.top) / 2
  return ((x - box.left - rx) / (rx || 1)) ** 2 + ((y - box.top - ry) / (ry || 1)) ** 2 <= 1
}

function* rectangleEdge({ left, top, right, bottom }: Rect): Generator<Segment> {
  yield [left, top, right, top]
  yield [right, top, right, bottom]
  yield [right, bottom, left, bottom]
  yield [left, bottom, left, top]
}

function* ellipseEdge({ left, top, right, bottom }: Rect): Generator<Segment> {
  const at = (i: number): [number, number] => {
    const angle = (i / ELLIPSE_CHORDS) * 2 * Math.PI
    return [
      (left + right) / 2 + (Math.cos(angle) * (right - left)) / 2,
      (top + bottom) / 2 + (Math.sin(angle) * (bottom - top)) / 2,
    ]
  }
  for (let i = 0; i < ELLIPSE_CHORDS; i += 1) yield [...at(i), ...at(i + 1)]
}
