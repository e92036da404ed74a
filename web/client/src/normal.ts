/** Ops in the form in which the server will keep them, so that what one sees at once is what remains. */

import { EnfiladeError } from './errors.js'
import { COORDINATE_MAX, roundUnits } from './points.js'
import type { BoardOp, Points } from './types.js'

/** Rounds coordinates to quarters and widths to 1/64, and writes colours in lower case. Throws `invalid_op`. */
export function normalOp<Op extends BoardOp>(op: Op): Op {
  const data: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(op.data)) if (value !== undefined) data[name] = normalField(name, value)
  return { ...op, data }
}

function normalField(name: string, value: unknown): unknown {
  switch (name) {
    case 'points':
      return (value as Points).map(coordinate)
    case 'from':
    case 'to':
    case 'bounds':
      return (value as number[]).map(coordinate)
    case 'offsets':
      return (value as number[][]).map((offset) => offset.map(coordinate))
    case 'width':
    case 'size':
      return Math.round(finite(value as number) * 64) / 64
    case 'color':
    case 'fill':
      return normalColor(value as string)
    default:
      return value
  }
}

function coordinate(units: number): number {
  if (Math.abs(finite(units)) > COORDINATE_MAX) {
    throw new EnfiladeError('invalid_op', `a coordinate is within ±${COORDINATE_MAX}`)
  }
  return roundUnits(units)
}

function finite(number: number): number {
  if (!Number.isFinite(number)) throw new EnfiladeError('invalid_op', 'a coordinate or a size is a finite number')
  return number
}

function normalColor(color: string): string {
  const lower = color.toLowerCase()
  return lower.length === 9 && lower.endsWith('ff') ? lower.slice(0, 7) : lower
}
