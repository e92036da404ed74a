/**
 * From a pen's path to the shape of its ink: the outline of a stroke whose width follows its pressure.
 * The points are taken as they are (jitter is taken out while drawing), so that a stroke looks the same to the one who
 * draws it, to the others while it grows, and to everybody after the room has simplified it.
 */

import { getStroke } from 'perfect-freehand'
import { stretches } from './rounding'
import { THINNING } from './shape'

type Loop = readonly (readonly number[])[]

/** Closed loops that are filled together: one for each stretch between two corners, with round ends that meet there. */
export type Outline = readonly Loop[]

export interface OutlineOptions {
  /** Still growing: its end is not rounded off yet. */
  readonly growing?: boolean
  /** Board units that nobody sees: what is finer may be left out. */
  readonly unseen?: number
}

/** Points around a dot. */
const DOT_CORNERS = 20

export function outline(
  xy: ArrayLike<number>,
  pressure: ArrayLike<number> | undefined,
  width: number,
  { growing = false, unseen = 0 }: OutlineOptions = {},
): Outline {
  if (xy.length < 4) return [dot(xy, pressure, width)]
  const step = Math.max(2, width * 0.7, unseen)
  const parts = stretches(xy, pressure, step)
  return parts.map((part, i) =>
    getStroke(part, {
      size: width,
      thinning: pressure ? THINNING : 0,
      smoothing: 0.4,
      streamline: 0,
      simulatePressure: false,
      last: !growing || i < parts.length - 1,
    }),
  )
}

function dot(xy: ArrayLike<number>, pressure: ArrayLike<number> | undefined, width: number): Loop {
  const [x, y] = [xy[0] ?? 0, xy[1] ?? 0]
  const pressed = pressure ? (pressure[0] ?? 128) / 255 : 0.5
  // A dot is made on purpose: it gets no thinner than a line.
  const radius = width * (0.5 + THINNING * Math.max(0, pressed - 0.5))
  return Array.from({ length: DOT_CORNERS }, (_, i) => {
    const angle = (i / DOT_CORNERS) * 2 * Math.PI
    return [x + Math.cos(angle) * radius, y + Math.sin(angle) * radius]
  })
}

/** What a path is drawn with: a canvas path or an SVG writer. */
export interface Pencil {
  moveTo(x: number, y: number): void
  lineTo(x: number, y: number): void
  quadraticCurveTo(cx: number, cy: number, x: number, y: number): void
  closePath(): void
}

export function traceOutline(pencil: Pencil, loops: Outline): void {
  for (const loop of loops) traceLoop(pencil, loop)
}

/** Draws a closed loop through the midpoints of its edges, which makes it smooth. */
function traceLoop(pencil: Pencil, points: Loop): void {
  const count = points.length
  if (count < 3) return
  const at = (i: number) => points[i % count] as readonly [number, number]
  const [x0, y0] = at(0)
  const [x1, y1] = at(1)
  pencil.moveTo((x0 + x1) / 2, (y0 + y1) / 2)
  for (let i = 1; i <= count; i += 1) {
    const [cx, cy] = at(i)
    const [nx, ny] = at(i + 1)
    pencil.quadraticCurveTo(cx, cy, (cx + nx) / 2, (cy + ny) / 2)
  }
  pencil.closePath()
}

/** Draws the centre line, skipping points nearer than `step` to the last one drawn. */
export function traceCentre(pencil: Pencil, xy: ArrayLike<number>, step: number): void {
  const last = xy.length - 2
  if (last < 0) return
  let x = xy[0] as number
  let y = xy[1] as number
  pencil.moveTo(x, y)
  // A dot has no length; a hair's breadth gives the round cap something to stand on.
  if (last === 0) pencil.lineTo(x + 0.01, y)
  for (let i = 2; i <= last; i += 2) {
    const nx = xy[i] as number
    const ny = xy[i + 1] as number
    if (i !== last && Math.abs(nx - x) + Math.abs(ny - y) < step) continue
    pencil.lineTo(nx, ny)
    x = nx
    y = ny
  }
}
