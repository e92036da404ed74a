/**
 * Puts shapes on a canvas. The transform of the context maps board units to pixels; `scale` says how many pixels a unit
 * has, and with it how much detail is worth drawing: ink thinner than a hair is a plain line, and plain lines of one
 * colour are gathered into one path, which is what makes a board of a hundred thousand strokes paint in a blink.
 */

import { heightOf, type Rect, widthOf } from './geometry'
import { isClear, noteInk, noteSurface, shown, type Theme } from './ink'
import { FACE, LINE_HEIGHT, NOTE_PADDING, NOTE_SIZE } from './lettering'
import { outline, traceCentre, traceOutline } from './outline'
import {
  arrowHead,
  type BoxShape,
  type LineShape,
  type NoteShape,
  type Shape,
  type StrokeShape,
  type TextShape,
} from './shape'

export type Context2D = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D

/** Below this many pixels of width, an outline cannot be told from a line. */
const HAIRLINE = 1.5
/** Below this many pixels of extent, a shape is a speck. */
const SPECK = 1.5
/** How many lines are gathered before they are drawn; canvases slow down on endless paths. */
const GATHERED_MAX = 400

export class Painter {
  readonly #context: Context2D
  readonly #scale: number
  readonly #theme: Theme
  /** Style of the lines gathered so far; empty if there are none. */
  #gathering = ''
  #gathered = 0

  constructor(context: Context2D, scale: number, theme: Theme) {
    this.#context = context
    this.#scale = scale
    this.#theme = theme
    context.lineCap = 'round'
    context.lineJoin = 'round'
    context.textBaseline = 'alphabetic'
  }

  draw(shape: Shape): void {
    if (Math.max(widthOf(shape.bounds), heightOf(shape.bounds)) * this.#scale < SPECK) return this.#speck(shape)
    switch (shape.kind) {
      case 'stroke':
        return this.#stroke(shape)
      case 'line':
      case 'arrow':
        return this.#line(shape)
      case 'rectangle':
      case 'ellipse':
        return this.#box(shape)
      case 'text':
        return this.#text(shape)
      case 'note':
        return this.#note(shape)
    }
  }

  /** Draws what is still gathered. To be called after the last shape. */
  flush(): void {
    if (this.#gathered > 0) this.#context.stroke()
    this.#gathered = 0
    this.#gathering = ''
  }

  #speck(shape: Shape): void {
    this.flush()
    const { left, top } = shape.bounds
    const pixel = 1 / this.#scale
    this.#context.fillStyle = shown(shape.color, this.#theme)
    this.#context.fillRect(left, top, pixel, pixel)
  }

  #stroke(shape: StrokeShape): void {
    if (shape.width * this.#scale < HAIRLINE || !shape.pressure) return this.#hairline(shape)
    this.flush()
    this.#context.fillStyle = shown(shape.color, this.#theme)
    this.#context.beginPath()
    traceOutline(this.#context, outline(shape.xy, shape.pressure, shape.width, { unseen: 2 / this.#scale }))
    this.#context.fill()
  }

  #hairline(shape: StrokeShape): void {
    // Quarter pixels: nobody sees finer, and equal widths can share a path.
    const pixels = Math.max(0.75, Math.round(shape.width * this.#scale * 4) / 4)
    this.#gather(shown(shape.color, this.#theme), pixels / this.#scale)
    traceCentre(this.#context, shape.xy, 0.75 / this.#scale)
  }

  #gather(color: string, width: number): void {
    const style = `${color} ${width}`
    // Where translucent lines cross they must darken each other, so each is drawn for itself.
    const translucent = color.length === 9
    if (style !== this.#gathering || translucent || this.#gathered >= GATHERED_MAX) {
      this.flush()
      this.#context.beginPath()
      this.#context.strokeStyle = color
      this.#context.lineWidth = width
      this.#gathering = style
    }
    this.#gathered += 1
  }

  #line(shape: LineShape): void {
    this.#pen(shape.color, shape.width)
    const { from, to } = shape
    this.#context.moveTo(from.x, from.y)
    this.#context.lineTo(to.x, to.y)
    if (shape.kind === 'arrow') {
      const [left, right] = arrowHead(from, to, shape.width)
      this.#context.moveTo(left.x, left.y)
      this.#context.lineTo(to.x, to.y)
      this.#context.lineTo(right.x, right.y)
    }
    this.#context.stroke()
  }

  #box(shape: BoxShape): void {
    this.#pen(shape.color, shape.width)
    traceBox(this.#context, shape.kind, shape.box)
    if (!isClear(shape.fill)) {
      this.#context.fillStyle = shown(shape.fill as string, this.#theme)
      this.#context.fill()
    }
    this.#context.stroke()
  }

  #pen(color: string, width: number): void {
    this.flush()
    this.#context.strokeStyle = shown(color, this.#theme)
    this.#context.lineWidth = Math.max(width, 0.75 / this.#scale)
    this.#context.beginPath()
  }

  #text(shape: TextShape): void {
    this.flush()
    this.#lines(shape.lines, shape.at.x, shape.at.y, shape.size, shown(shape.color, this.#theme))
  }

  #note(shape: NoteShape): void {
    this.flush()
    const context = this.#context
    const { left, top } = shape.box
    context.save()
    context.beginPath()
    context.roundRect(left, top, widthOf(shape.box), heightOf(shape.box), 4)
    context.fillStyle = noteSurface(shape.color, this.#theme)
    context.fill()
    context.clip()
    this.#lines(shape.lines, left + NOTE_PADDING, top + NOTE_PADDING, NOTE_SIZE, noteInk(shape.color))
    context.restore()
  }

  #lines(lines: readonly string[], x: number, y: number, size: number, color: string): void {
    this.#context.fillStyle = color
    this.#context.font = `${size}px ${FACE}`
    lines.forEach((line, i) => this.#context.fillText(line, x, y + size + i * size * LINE_HEIGHT))
  }
}

function traceBox(context: Context2D, kind: BoxShape['kind'], box: Rect): void {
  const width = widthOf(box)
  const height = heightOf(box)
  if (kind === 'rectangle') context.rect(box.left, box.top, width, height)
  else context.ellipse(box.left + width / 2, box.top + height / 2, width / 2, height / 2, 0, 0, 2 * Math.PI)
}
