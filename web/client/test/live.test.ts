import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { msgpackLength } from '../src/codec.js'
import { Cursors, CURSOR_EXPIRY_MS, LiveStrokes, STROKE_EXPIRY_MS, StrokeBuilder } from '../src/live.js'
import { toPairs } from '../src/points.js'
import { DEFAULT_LIMITS, type Json, type Signal } from '../src/types.js'

const signal = (body: Json, client = 'c1'): Signal => ({ author: 'ada', client, key: 'stroke.0', body })
const builder = (): StrokeBuilder => new StrokeBuilder('s', '#1a1a1a', 4, DEFAULT_LIMITS)

describe('the pieces of a stroke', () => {
  test('are coded as the protocol page says', () => {
    const pen = builder()
    pen.add(10, 10, 128)
    pen.add(11.5, 12, 130)
    expect(pen.piece()).toEqual({
      element: 's',
      color: '#1a1a1a',
      width: 4,
      at: 0,
      points: [80, 80, 12, 16],
      pressure: [128, 130],
    })
    pen.add(0, 0, 1)
    expect(pen.piece()).toMatchObject({ at: 2, points: [0, 0], pressure: [1] })
    expect(pen.piece()).toBeNull()
  })

  test('make the stroke again, in whatever order and however often they come', () => {
    const coordinate = fc.integer({ min: -400, max: 400 }).map((n) => n / 4)
    const points = fc.array(fc.tuple(coordinate, coordinate), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(points, fc.infiniteStream(fc.nat(5)), fc.infiniteStream(fc.nat(1_000)), (points, sizes, order) => {
        const pen = builder()
        const pieces: Json[] = []
        for (const [x, y] of points) {
          pen.add(x, y, 7)
          if (sizes.next().value === 0) pieces.push(pen.piece())
        }
        pieces.push(pen.piece(), pen.again())
        const shuffled = [...pieces, ...pieces]
          .filter((piece) => piece !== null)
          .map((piece) => ({ piece, at: order.next().value as number }))
          .sort((a, b) => a.at - b.at)
        const live = new LiveStrokes(20_000)
        for (const { piece } of shuffled) live.take(signal(piece), 0)
        expect(live.strokes.get('s')?.points).toEqual(pen.points)
        expect(live.strokes.get('s')?.pressure).toEqual(pen.pressure)
      }),
    )
  })

  test('that are lost are bridged', () => {
    const pen = builder()
    const pieces = [0, 1, 2].map((n) => {
      pen.add(n, n)
      return pen.piece()
    })
    const live = new LiveStrokes(20_000)
    live.take(signal(pieces[0]!), 0)
    live.take(signal(pieces[2]!), 0)
    expect(toPairs(live.strokes.get('s')!.points)).toEqual([[0, 0], [2, 2]])
  })

  test('stay within the bound of a signal', () => {
    const pen = new StrokeBuilder('s'.repeat(40), '#1a1a1a80', 399.5, DEFAULT_LIMITS)
    for (let i = 0; i < 1_000; i++) pen.add(i % 2 ? 1_000_000 : -1_000_000, i % 2 ? -1_000_000 : 1_000_000, 255)
    let total = 0
    for (let piece = pen.piece(); piece; piece = pen.piece()) {
      expect(msgpackLength(piece)).toBeLessThanOrEqual(DEFAULT_LIMITS.signal_bytes)
      total += (piece as { points: number[] }).points.length / 2
    }
    expect(total).toBe(1_000)
  })

  test('points that round to the one before are left out, and a full stroke takes no more', () => {
    const pen = new StrokeBuilder('s', '#1a1a1a', 4, { ...DEFAULT_LIMITS, stroke_points: 3 })
    for (const x of [0, 0.1, 1, 1.1, 2, 3]) pen.add(x, 0)
    pen.add(Number.NaN, 0)
    expect(toPairs(pen.points)).toEqual([[0, 0], [1, 0], [2, 0]])
    expect(pen.full).toBe(true)
  })
})

describe('strokes of others', () => {
  const piece: Json = { element: 's', color: '#1a1a1a', width: 4, at: 0, points: [0, 0] }

  test('end when they are finished, and late pieces do not revive them', () => {
    const live = new LiveStrokes(20_000)
    expect(live.take(signal(piece), 0)).toBe('s')
    expect(live.end('s')).toBe('s')
    expect(live.take(signal(piece), 0)).toBeUndefined()
    expect(live.strokes.size).toBe(0)
  })

  test('are taken back', () => {
    const live = new LiveStrokes(20_000)
    live.take(signal(piece), 0)
    expect(live.take(signal({ element: 's', cancel: true }), 0)).toBe('s')
    expect(live.strokes.size).toBe(0)
  })

  test('expire without news', () => {
    const live = new LiveStrokes(20_000)
    live.take(signal(piece), 1_000)
    expect(live.expire(1_000 + STROKE_EXPIRY_MS - 1)).toEqual([])
    live.take(signal(piece), 2_000)
    expect(live.expire(1_000 + STROKE_EXPIRY_MS)).toEqual([])
    expect(live.expire(2_000 + STROKE_EXPIRY_MS)).toEqual(['s'])
  })

  test('are not painted over by a second client', () => {
    const live = new LiveStrokes(20_000)
    live.take(signal(piece), 0)
    expect(live.take(signal({ ...(piece as object), at: 1 } as Json, 'c2'), 0)).toBeUndefined()
    expect(live.strokes.get('s')?.client).toBe('c1')
  })

  test('whatever a signal has in it is a piece or nothing', () => {
    const live = new LiveStrokes(100)
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(fc.nat(9)), (noise, points) => {
        live.take(signal(noise as Json), 0)
        live.take(signal({ ...(piece as object), points, at: noise as Json } as Json), 0)
        for (const stroke of live.strokes.values()) expect(stroke.points.length).toBeLessThanOrEqual(200)
      }),
    )
  })
})

describe('cursors of others', () => {
  test('come, move, leave and expire', () => {
    const cursors = new Cursors()
    const at = (body: Json, now: number): boolean => cursors.take({ author: 'ada', client: 'c1', key: 'cursor', body }, now)
    expect(at({ x: 1, y: 2 }, 0)).toBe(true)
    expect(cursors.all.get('c1')).toEqual({ author: 'ada', client: 'c1', x: 1, y: 2 })
    expect(at(null, 0)).toBe(true)
    expect(at(null, 0)).toBe(false)
    at({ x: 1, y: 2 }, 1_000)
    expect(cursors.expire(1_000 + CURSOR_EXPIRY_MS - 1)).toBe(false)
    expect(cursors.expire(1_000 + CURSOR_EXPIRY_MS)).toBe(true)
    expect(cursors.all.size).toBe(0)
  })
})
