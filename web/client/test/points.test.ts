import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import {
  decodePoints,
  decodePressure,
  encodePoints,
  encodePressure,
  roundUnits,
  toPairs,
  toPoints,
  unzigzag,
  zigzag,
} from '../src/points.js'

const quarters = fc.integer({ min: -4_000_000, max: 4_000_000 }).map((n) => n / 4)

describe('points', () => {
  test('are coded as the protocol page shows', () => {
    const points = toPoints([[10, 10], [11.5, 12]])
    expect([...encodePoints(points)]).toEqual([0x50, 0x50, 0x0c, 0x10])
    expect(toPairs(decodePoints(Uint8Array.of(0x50, 0x50, 0x0c, 0x10)))).toEqual([[10, 10], [11.5, 12]])
    expect([...encodePressure([128, 130])]).toEqual([0x80, 0x02, 0x04])
  })

  test('survive coding, over the whole plane', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(quarters, quarters)), (pairs) => {
        const points = toPoints(pairs)
        expect(toPairs(points)).toEqual(pairs)
        expect(decodePoints(encodePoints(points))).toEqual(points)
      }),
    )
  })

  test('pressure survives coding', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (pressure) => {
        expect(decodePressure(encodePressure(pressure))).toEqual(pressure)
      }),
    )
  })

  test('any bytes are points or a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          expect(decodePoints(bytes).length % 2).toBe(0)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })

  test('what is not in the plane is not coded', () => {
    expect(() => encodePoints([Number.NaN, 0])).toThrow(RangeError)
    expect(() => encodePoints([Number.POSITIVE_INFINITY, 0])).toThrow(RangeError)
    expect(() => encodePoints([1_000_001, 0])).toThrow(RangeError)
  })

  test('halves of a quarter are rounded away from zero', () => {
    expect([0.125, -0.125, 0.12, -0.12].map(roundUnits)).toEqual([0.25, -0.25, 0, 0])
  })

  test('zigzag codes are those of the protocol page', () => {
    expect([0, -1, 1, -2, 2].map(zigzag)).toEqual([0, 1, 2, 3, 4])
    fc.assert(fc.property(fc.integer({ min: -8_000_000, max: 8_000_000 }), (n) => unzigzag(zigzag(n)) === n))
  })
})
