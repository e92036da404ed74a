/** The board as an SVG document: the same outlines as on the screen, as paths that any program can edit. */

import { heightOf, inflate, type Rect, widthOf } from './geometry'
import { isClear, noteInk, noteSurface, PAPER, shown, type Theme } from './ink'
import { FACE, LINE_HEIGHT, NOTE_PADDING, NOTE_SIZE } from './lettering'
import { outline, type Pencil, traceCentre, traceOutline } from './outline'
import { arrowHead, type BoxShape, type LineShape, type NoteShape, type Shape, type StrokeShape } from './shape'

export const EXPORT_MARGIN = 40

/** What an export shows: everything, with a margin; an empty board is a small empty sheet. */
export function exportArea(bounds: Rect | undefined): Rect {
  return inflate(bounds ?? { left: 0, top: 0, right: 320, bottom: 200 }, EXPORT_MARGIN)
}

export function toSvg(shapes: Iterable<Shape>, bounds: Rect | undefined, theme: Theme, title: string): string {
  const area = exportArea(bounds)
  const box = [area.left, area.top, widthOf(area), heightOf(area)].map(number)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box.join(' ')}" width="${box[2]}" height="${box[3]}">`,
    `<title>${escaped(title)}</title>`,
    `<rect x="${box[0]}" y="${box[1]}" width="${box[2]}" height="${box[3]}" fill="${PAPER[theme]}"/>`,
  ]
  for (const shape of shapes) parts.push(drawn(shape, theme))
  parts.push('</svg>', '')
  return parts.join('\n')
}

function drawn(shape: Shape, theme: Theme): string {
  switch (shape.kind) {
    case 'stroke':
      return stroke(shape, theme)
    case 'line':
    case 'arrow':
      return line(shape, theme)
    case 'rectangle':
    case 'ellipse':
      return box(shape, theme)
    case 'text':
      return lettering(shape.lines, shape.at.x, shape.at.y, shape.size, shown(shape.color, theme))
    case 'note':
      return note(shape, theme)
  }
}

function stroke(shape: StrokeShape, theme: Theme): string {
  const color = shown(shape.color, theme)
  if (!shape.pressure)
    return `<path d="${path((pencil) => traceCentre(pencil, shape.xy, 0))}" ${lined(color, shape.width)}/>`
  const ink = outline(shape.xy, shape.pressure, shape.width)
  return `<path d="${path((pencil) => traceOutline(pencil, ink))}" ${filled(color)}/>`
}

function line(shape: LineShape, theme: Theme): string {
  const { from, to } = shape
  const d = path((pencil) => {
    pencil.moveTo(from.x, from.y)
    pencil.lineTo(to.x, to.y)
    if (shape.kind === 'line') return
    const [left, right] = arrowHead(from, to, shape.width)
    pencil.moveTo(left.x, left.y)
    pencil.lineTo(to.x, to.y)
    pencil.lineTo(right.x, right.y)
  })
  return `<path d="${d}" ${lined(shown(shape.color, theme), shape.width)}/>`
}

function box(shape: BoxShape, theme: Theme): string {
  const { left, top } = shape.box
  const width = widthOf(shape.box)
  const height = heightOf(shape.box)
  const fill = isClear(shape.fill) ? undefined : shown(shape.fill as string, theme)
  const look = lined(shown(shape.color, theme), shape.width, fill)
  if (shape.kind === 'rectangle') {
    return `<rect x="${number(left)}" y="${number(top)}" width="${number(width)}" height="${number(height)}" ${look}/>`
  }
  const [cx, cy, rx, ry] = [left + width / 2, top + height / 2, width / 2, height / 2].map(number)
  return `<ellipse cx="${cx}" cy="${cy}" rx="${rx}" ry="${ry}" ${look}/>`
}

function note(shape: NoteShape, theme: Theme): string {
  const { left, top } = shape.box
  const [x, y, width, height] = [left, top, widthOf(shape.box), heightOf(shape.box)].map(number)
  const words = lettering(shape.lines, left + NOTE_PADDING, top + NOTE_PADDING, NOTE_SIZE, noteInk(shape.color))
  return `<g><rect x="${x}" y="${y}" width="${width}" height="${height}" rx="4" ${filled(noteSurface(shape.color, theme))}/>${words}</g>`
}

function lettering(lines: readonly string[], x: number, y: number, size: number, color: string): string {
  const spans = lines.map(
    (text, i) => `<tspan x="${number(x)}" y="${number(y + size + i * size * LINE_HEIGHT)}">${escaped(text)}</tspan>`,
  )
  return `<text font-family="${escaped(FACE)}" font-size="${number(size)}" xml:space="preserve" ${filled(color)}>${spans.join('')}</text>`
}

function path(trace: (pencil: Pencil) => void): string {
  const d: string[] = []
  trace({
    moveTo: (x, y) => d.push(`M${number(x)} ${number(y)}`),
    lineTo: (x, y) => d.push(`L${number(x)} ${number(y)}`),
    quadraticCurveTo: (cx, cy, x, y) => d.push(`Q${number(cx)} ${number(cy)} ${number(x)} ${number(y)}`),
    closePath: () => d.push('Z'),
  })
  return d.join('')
}

const lined = (color: string, width: number, fill = 'none'): string =>
  `${filled(fill)} ${paint('stroke', color)} stroke-width="${number(width)}" stroke-linecap="round" stroke-linejoin="round"`

const filled = (color: string): string => paint('fill', color)

/** Eight-digit colours are beyond many readers of SVG: the opacity goes beside. */
function paint(property: 'fill' | 'stroke', color: string): string {
  if (color.length !== 9) return `${property}="${color}"`
  const opacity = Number.parseInt(color.slice(7), 16) / 255
  return `${property}="${color.slice(0, 7)}" ${property}-opacity="${number(opacity)}"`
}

const number = (value: number): string => String(Math.round(value * 100) / 100)

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] as string).replace(FORBIDDEN, '')
}

/** Characters that XML cannot carry at all. */
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g
