/** Plays the landing page's drawing on a canvas: walls that come into colour, ink that flows, pointers that draw. */

import { shown, type Theme } from '../canvas/ink'
import { FACE } from '../canvas/lettering'
import { outline, traceOutline } from '../canvas/outline'
import { type Doorway, HANDS, makeSketch, type SketchStroke } from './sketch'

/** The walls' paint, from the first room to the morning outside. */
const WALLS: Readonly<Record<Theme, readonly string[]>> = {
  light: ['#d5e4d8', '#ecd5ca', '#cfdfe8', '#f0dfa9', '#fff8de'],
  dark: ['#20352e', '#3d2c28', '#22333f', '#453b1e', '#6a5a26'],
}
const FLOOR: Readonly<Record<Theme, string>> = { light: 'rgb(27 36 33 / 0.055)', dark: 'rgb(0 0 0 / 0.22)' }
/** Milliseconds in which a wall takes its colour. */
const WALL_FADE = 900

const sketch = makeSketch()

export class SketchPlayer {
  readonly #canvas: HTMLCanvasElement
  #theme: Theme
  #frame = 0
  #began: number | undefined
  #at = 0

  constructor(canvas: HTMLCanvasElement, theme: Theme, animated: boolean) {
    this.#canvas = canvas
    this.#theme = theme
    if (animated) this.#frame = requestAnimationFrame((now) => this.#tick(now))
    else this.#at = Infinity
  }

  set theme(theme: Theme) {
    this.#theme = theme
    this.#draw()
  }

  resize(): void {
    const ratio = devicePixelRatio
    this.#canvas.width = Math.round(this.#canvas.clientWidth * ratio)
    this.#canvas.height = Math.round((this.#canvas.clientWidth * sketch.height * ratio) / sketch.width)
    this.#draw()
  }

  close(): void {
    cancelAnimationFrame(this.#frame)
  }

  #tick(now: number): void {
    this.#began ??= now
    this.#at = now - this.#began
    this.#draw()
    if (this.#at < sketch.duration + WALL_FADE) this.#frame = requestAnimationFrame((next) => this.#tick(next))
  }

  #draw(): void {
    const context = this.#canvas.getContext('2d')
    if (!context) return
    const scale = this.#canvas.width / sketch.width
    context.setTransform(1, 0, 0, 1, 0, 0)
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height)
    context.setTransform(scale, 0, 0, scale, 0, 0)
    sketch.doorways.forEach((door, i) => this.#wall(context, door, i))
    for (const stroke of sketch.strokes) this.#stroke(context, stroke)
    if (this.#at !== Infinity) HANDS.forEach((_, hand) => this.#pointer(context, hand))
  }

  #wall(context: CanvasRenderingContext2D, door: Doorway, index: number): void {
    context.globalAlpha = Math.min(1, Math.max(0, (this.#at - door.start) / WALL_FADE))
    context.beginPath()
    traceDoorway(context, door)
    context.fillStyle = WALLS[this.#theme][index] ?? 'transparent'
    context.fill()
    this.#floor(context, door, sketch.doorways[index + 1])
    context.globalAlpha = 1
  }

  #floor(context: CanvasRenderingContext2D, near: Doorway, far: Doorway | undefined): void {
    if (!far) return
    context.beginPath()
    context.moveTo(near.left, near.bottom)
    context.lineTo(far.left, far.bottom)
    context.lineTo(far.right, far.bottom)
    context.lineTo(near.right, near.bottom)
    context.fillStyle = FLOOR[this.#theme]
    context.fill()
  }

  #stroke(context: CanvasRenderingContext2D, stroke: SketchStroke): void {
    const count = drawnPoints(stroke, this.#at)
    if (count === 0) return
    context.fillStyle = shown(stroke.color, this.#theme)
    context.beginPath()
    traceOutline(context, outline(stroke.xy.subarray(0, count * 2), stroke.pressure.subarray(0, count), stroke.width))
    context.fill()
  }

  #pointer(context: CanvasRenderingContext2D, hand: number): void {
    const at = placeOf(hand, this.#at)
    const person = HANDS[hand]
    if (!at || !person) return
    context.save()
    context.translate(at.x, at.y)
    context.fillStyle = person.color
    context.strokeStyle = this.#theme === 'light' ? '#ffffff' : '#10211b'
    context.lineWidth = 2
    context.lineJoin = 'round'
    const arrow = new Path2D('M1 1l9.6 27.4 4.9-11.2 11.6-4.1z')
    context.fill(arrow)
    context.stroke(arrow)
    context.font = `600 19px ${FACE}`
    const width = context.measureText(person.name).width
    context.beginPath()
    context.roundRect(20, 24, width + 22, 32, [4, 16, 16, 16])
    context.fill()
    context.fillStyle = '#ffffff'
    context.fillText(person.name, 31, 46)
    context.restore()
  }
}

function traceDoorway(context: CanvasRenderingContext2D, { left, right, top, spring, bottom }: Doorway): void {
  context.moveTo(left, bottom)
  context.lineTo(left, spring)
  context.ellipse((left + right) / 2, spring, (right - left) / 2, spring - top, 0, Math.PI, 2 * Math.PI)
  context.lineTo(right, bottom)
  context.closePath()
}

function drawnPoints({ xy, start, end }: SketchStroke, at: number): number {
  const share = Math.min(1, (at - start) / (end - start))
  return share <= 0 ? 0 : Math.max(1, Math.floor((share * xy.length) / 2))
}

/** Where a hand is: at the tip of its stroke, or on its way to the next one. */
function placeOf(hand: number, at: number): { x: number; y: number } | undefined {
  const strokes = sketch.strokes.filter((stroke) => stroke.hand === hand)
  const current = strokes.findLast((stroke) => stroke.start <= at)
  if (!current) return undefined
  const next = strokes[strokes.indexOf(current) + 1]
  if (at <= current.end || !next) return pointAt(current, drawnPoints(current, at) - 1)
  const from = pointAt(current, current.xy.length / 2 - 1)
  const to = pointAt(next, 0)
  const share = Math.min(1, (at - current.end) / (next.start - current.end))
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share }
}

const pointAt = ({ xy }: SketchStroke, index: number) => ({ x: xy[index * 2] ?? 0, y: xy[index * 2 + 1] ?? 0 })
