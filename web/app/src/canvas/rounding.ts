/**
 * A stroke's points once more, close together: what the room has simplified to its bends gets its curves back, and a
 * corner stays a corner. A stroke falls into the stretches between its corners, each of which is smooth.
 */

/** `[x, y, pressure 0 to 1]` */
export type PressedPoint = [number, number, number]

/** A turn sharper than this (60°) is meant as a corner. */
const CORNER_COSINE = 0.5
/** However long a straight line is, it needs no more points than this. */
const PARTS_MAX = 64

export function stretches(
  xy: ArrayLike<number>,
  pressure: ArrayLike<number> | undefined,
  step: number,
): PressedPoint[][] {
  const points = pressed(xy, pressure)
  let stretch: PressedPoint[] = points.slice(0, 1)
  const out = [stretch]
  for (let i = 1; i < points.length; i += 1) {
    const [before, from, to, after] = [points[i - 2], points[i - 1], points[i], points[i + 1]]
    if (!from || !to) break
    if (before && isCorner(before, from, to)) out.push((stretch = [from]))
    stretch.push(...between(before, from, to, after, step), to)
  }
  return out
}

function pressed(xy: ArrayLike<number>, pressure: ArrayLike<number> | undefined): PressedPoint[] {
  const out: PressedPoint[] = []
  for (let i = 0; i + 1 < xy.length; i += 2) {
    out.push([xy[i] as number, xy[i + 1] as number, pressure ? (pressure[i / 2] ?? 128) / 255 : 0.5])
  }
  return out
}

type Direction = readonly [number, number]

function unit(from: PressedPoint, to: PressedPoint): Direction {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1])
  return length === 0 ? [0, 0] : [(to[0] - from[0]) / length, (to[1] - from[1]) / length]
}

function isCorner(before: PressedPoint, at: PressedPoint, after: PressedPoint): boolean {
  const [ax, ay] = unit(before, at)
  const [bx, by] = unit(at, after)
  return ax * bx + ay * by < CORNER_COSINE
}

/** Points on the way from one point to the next: a cubic (Hermite) that follows the bends at both. */
function* between(
  before: PressedPoint | undefined,
  from: PressedPoint,
  to: PressedPoint,
  after: PressedPoint | undefined,
  step: number,
): Generator<PressedPoint> {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1])
  const parts = Math.min(PARTS_MAX, Math.ceil(length / step))
  if (parts < 2) return
  const own = unit(from, to)
  const leaving = before && !isCorner(before, from, to) ? bisecting(unit(before, from), own) : own
  const arriving = after && !isCorner(from, to, after) ? bisecting(own, unit(to, after)) : own
  for (let part = 1; part < parts; part += 1) yield onCubic(from, to, leaving, arriving, length, part / parts)
}

function bisecting(a: Direction, b: Direction): Direction {
  const length = Math.hypot(a[0] + b[0], a[1] + b[1])
  return length === 0 ? b : [(a[0] + b[0]) / length, (a[1] + b[1]) / length]
}

function onCubic(
  from: PressedPoint,
  to: PressedPoint,
  leaving: Direction,
  arriving: Direction,
  length: number,
  t: number,
): PressedPoint {
  const s = 1 - t
  const start = s * s * (1 + 2 * t)
  const out = t * s * s * length
  const into = -t * t * s * length
  const end = t * t * (3 - 2 * t)
  return [
    from[0] * start + leaving[0] * out + arriving[0] * into + to[0] * end,
    from[1] * start + leaving[1] * out + arriving[1] * into + to[1] * end,
    from[2] * s + to[2] * t,
  ]
}
