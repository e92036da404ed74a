/** From an element of the protocol to a shape that can be drawn. */

import type {
  AreaElement,
  Element,
  LineElement,
  NoteElement,
  Point as Pair,
  StrokeElement,
  TextElement,
} from '@enfilade/client'
import { inflate, rectOf, spanning } from './geometry'
import { LINE_HEIGHT, linesOf, type Measure, NOTE_PADDING, NOTE_SIZE, wrap } from './lettering'
import {
  arrowHead,
  type BoxShape,
  type LineShape,
  type NoteShape,
  type Shape,
  strokeBounds,
  type StrokeShape,
  type TextShape,
} from './shape'

const NOWHERE: Pair = [0, 0]

export function shapeOf(element: Element, measure: Measure): Shape {
  switch (element.type) {
    case 'stroke':
      return strokeOf(element)
    case 'line':
    case 'arrow':
      return lineOf(element)
    case 'rectangle':
    case 'ellipse':
      return boxOf(element)
    case 'text':
      return textOf(element, measure)
    case 'note':
      return noteOf(element, measure)
  }
}

const common = ({ element, z, color }: Element) => ({ id: element, z, color })

function strokeOf(element: StrokeElement): StrokeShape {
  const xy = element.offset ? moved(element.points, element.offset) : element.points
  return {
    ...common(element),
    kind: 'stroke',
    width: element.width,
    xy,
    pressure: element.pressure,
    bounds: strokeBounds(xy, element.width),
  }
}

function moved(points: Float32Array, [dx, dy]: Pair): Float32Array {
  return points.map((value, i) => value + (i % 2 === 0 ? dx : dy))
}

function lineOf(element: LineElement): LineShape {
  const [dx, dy] = element.offset ?? NOWHERE
  const from = { x: element.from[0] + dx, y: element.from[1] + dy }
  const to = { x: element.to[0] + dx, y: element.to[1] + dy }
  const reach = element.type === 'arrow' ? headReach(from, to, element.width) : 0
  return {
    ...common(element),
    kind: element.type,
    width: element.width,
    from,
    to,
    bounds: inflate(spanning(from, to), element.width / 2 + reach + 1),
  }
}

function headReach(from: LineShape['from'], to: LineShape['to'], width: number): number {
  const [barb] = arrowHead(from, to, width)
  return Math.hypot(barb.x - to.x, barb.y - to.y)
}

function boxOf(element: AreaElement): BoxShape {
  const box = boxAt(element)
  return {
    ...common(element),
    kind: element.type,
    width: element.width,
    box,
    fill: element.fill,
    bounds: inflate(box, element.width / 2 + 1),
  }
}

function boxAt({ bounds, offset }: AreaElement | NoteElement) {
  const [dx, dy] = offset ?? NOWHERE
  return rectOf(bounds[0] + dx, bounds[1] + dy, bounds[2], bounds[3])
}

function textOf(element: TextElement, measure: Measure): TextShape {
  const [dx, dy] = element.offset ?? NOWHERE
  const at = { x: element.from[0] + dx, y: element.from[1] + dy }
  const lines = linesOf(element.text)
  const width = Math.max(0, ...lines.map((line) => measure(line, element.size)))
  const height = lines.length * element.size * LINE_HEIGHT
  return {
    ...common(element),
    kind: 'text',
    size: element.size,
    at,
    lines,
    bounds: inflate(rectOf(at.x, at.y, width, height), element.size * 0.25),
  }
}

function noteOf(element: NoteElement, measure: Measure): NoteShape {
  const box = boxAt(element)
  const width = Math.max(NOTE_SIZE, box.right - box.left - 2 * NOTE_PADDING)
  return {
    ...common(element),
    kind: 'note',
    box,
    lines: wrap(element.text, width, NOTE_SIZE, measure),
    bounds: inflate(box, 1),
  }
}
