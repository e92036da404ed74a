/**
 * The points of strokes, coded: each number as the zigzag varint of its difference to the one before, in quarters of a
 * unit. About two bytes a point of a pen.
 */

import type { Point, Points, Pressure } from './types.js'

export const COORDINATE_MAX = 1_000_000

/** To the nearest quarter, halves away from zero, as the server rounds. */
export function toQuarters(units: number): number {
  const quarters = units < 0 ? -Math.round(-units * 4) : Math.round(units * 4)
  return quarters === 0 ? 0 : quarters
}

/** A coordinate as the server will keep it. */
export function roundUnits(units: number): number {
  return toQuarters(units) / 4
}

/** Pairs of units as flat points, rounded to quarters. */
export function toPoints(pairs: Iterable<readonly [number, number]>): Points {
  const flat: number[] = []
  for (const [x, y] of pairs) flat.push(roundUnits(x), roundUnits(y))
  return Float32Array.from(flat)
}

/** Flat points as pairs of units. */
export function toPairs(points: Points): Point[] {
  const pairs: Point[] = []
  for (let i = 0; i + 1 < points.length; i += 2) pairs.push([points[i]!, points[i + 1]!])
  return pairs
}

export function zigzag(n: number): number {
  return n < 0 ? -2 * n - 1 : 2 * n
}

/** Of codes below 2³¹. */
export function unzigzag(n: number): number {
  return (n >>> 1) ^ -(n & 1)
}

/** The coded form of points, as in MessagePack. Throws a RangeError when a coordinate is not finite or out of range. */
export function encodePoints(points: ArrayLike<number>): Uint8Array {
  const out = new VarintWriter(points.length + 8)
  const last = [0, 0]
  for (let i = 0; i < points.length; i++) {
    const quarters = inRange(toQuarters(points[i]!))
    out.write(zigzag(quarters - last[i & 1]!))
    last[i & 1] = quarters
  }
  return out.bytes()
}

/** Throws a RangeError when the bytes are cut off or a coordinate lies out of range. */
export function decodePoints(coded: Uint8Array): Points {
  const points = new Float32Array(countVarints(coded))
  if (points.length % 2 !== 0) throw new RangeError('the coded points are cut off')
  const reader = new VarintReader(coded)
  let x = 0
  let y = 0
  for (let i = 0; i < points.length; i += 2) {
    x = inRange(x + unzigzag(reader.read()))
    y = inRange(y + unzigzag(reader.read()))
    points[i] = x / 4
    points[i + 1] = y / 4
  }
  return points
}

/** The coded form of pressure, as in MessagePack. */
export function encodePressure(pressure: ArrayLike<number>): Uint8Array {
  const out = new VarintWriter(pressure.length + 8)
  let last = 0
  for (let i = 0; i < pressure.length; i++) {
    out.write(zigzag(pressure[i]! - last))
    last = pressure[i]!
  }
  return out.bytes()
}

/** Throws a RangeError when the bytes are cut off or a value is not within 0 to 255. */
export function decodePressure(coded: Uint8Array): Pressure {
  const pressure = new Uint8Array(countVarints(coded))
  const reader = new VarintReader(coded)
  let last = 0
  for (let i = 0; i < pressure.length; i++) {
    last += unzigzag(reader.read())
    if (last < 0 || last > 255) throw new RangeError('a pressure is within 0 to 255')
    pressure[i] = last
  }
  return pressure
}

function inRange(quarters: number): number {
  // Written so that NaN is out of range too.
  if (!(Math.abs(quarters) <= COORDINATE_MAX * 4)) throw new RangeError('a coordinate is within ±1000000')
  return quarters
}

function countVarints(coded: Uint8Array): number {
  let count = 0
  for (let i = 0; i < coded.length; i++) if (coded[i]! < 0x80) count++
  if (coded.length > 0 && coded[coded.length - 1]! >= 0x80) throw new RangeError('the coded numbers are cut off')
  return count
}

/** Reads numbers of at most four bytes: no difference of two coordinates needs more. */
class VarintReader {
  #at = 0

  constructor(readonly coded: Uint8Array) {}

  read(): number {
    let byte = this.coded[this.#at++]!
    let value = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (shift > 21) throw new RangeError('a coded number is too long')
      byte = this.coded[this.#at++]!
      value |= (byte & 0x7f) << shift
    }
    return value
  }
}

class VarintWriter {
  #bytes: Uint8Array
  #length = 0

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity)
  }

  write(value: number): void {
    if (this.#length + 5 > this.#bytes.length) this.#grow()
    while (value >= 0x80) {
      this.#bytes[this.#length++] = (value % 128) | 0x80
      value = Math.floor(value / 128)
    }
    this.#bytes[this.#length++] = value
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  #grow(): void {
    const larger = new Uint8Array(this.#bytes.length * 2 + 8)
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}
