import { describe, expect, test } from 'vitest'
import { outline, traceCentre, traceOutline } from '../src/canvas/outline'
import { stretches } from '../src/canvas/rounding'
import { strokeBounds } from '../src/canvas/shape'

const wave = Float32Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? i * 4 : Math.sin(i / 6) * 40))
const full = new Uint8Array(40).fill(255)

describe('an outline', () => {
  test('stays within the bounds that are kept for it, even under full pressure', () => {
    const bounds = strokeBounds(wave, 12)
    for (const [x, y] of outline(wave, full, 12).flat()) {
      expect(x).toBeGreaterThan(bounds.left)
      expect(x).toBeLessThan(bounds.right)
      expect(y).toBeGreaterThan(bounds.top)
      expect(y).toBeLessThan(bounds.bottom)
    }
  })

  test('is wider where the pen was pressed', () => {
    const straight = Float32Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? i * 10 : 0))
    const heightUnder = (pressure: number) => {
      const ys = outline(straight, new Uint8Array(20).fill(pressure), 10)
        .flat()
        .map(([, y]) => y!)
      return Math.max(...ys) - Math.min(...ys)
    }
    expect(heightUnder(230)).toBeGreaterThan(heightUnder(60) * 1.5)
  })

  test('of a dot is a dot', () => {
    const points = outline([5, 5], [128], 8).flat()
    expect(points.length).toBeGreaterThan(4)
    for (const [x, y] of points) expect(Math.hypot(x! - 5, y! - 5)).toBeLessThan(8)
  })

  test('is closed', () => {
    const calls: string[] = []
    const pencil = new Proxy({}, { get: (_, name) => () => calls.push(String(name)) }) as Parameters<
      typeof traceOutline
    >[0]
    traceOutline(pencil, outline(wave, full, 12))
    expect(calls[0]).toBe('moveTo')
    expect(calls.at(-1)).toBe('closePath')
  })
})

test('a line seen from far away has few points, and still ends where it ends', () => {
  const drawn: number[][] = []
  const put = (x: number, y: number) => drawn.push([x, y])
  const pencil = { moveTo: put, lineTo: put, quadraticCurveTo: () => undefined, closePath: () => undefined }
  traceCentre(pencil, wave, 60)
  expect(drawn.length).toBeLessThan(15)
  expect(drawn.at(-1)).toEqual([wave[78], wave[79]])
})

describe('stretches', () => {
  test('give a simplified circle its curve back', () => {
    const corners = Array.from({ length: 17 }, (_, i) => (i / 16) * 2 * Math.PI)
    const circle = corners.flatMap((angle) => [100 * Math.cos(angle), 100 * Math.sin(angle)])
    const [all, ...others] = stretches(circle, undefined, 3)
    expect(others).toEqual([])
    const distances = all!.map(([x, y]) => Math.hypot(x, y))
    // The chords themselves come as near as 98.1 to the middle; only the two ends cannot know how they bend.
    expect(Math.min(...distances.slice(13, -13))).toBeGreaterThan(99.8)
    expect(Math.max(...distances)).toBeLessThan(100.2)
  })

  test('end at a corner, which stays sharp, and leave a straight line straight', () => {
    const [across, down, ...others] = stretches([0, 0, 100, 0, 100, 100], [100, 100, 200], 10)
    expect(others).toEqual([])
    for (const [, y] of across!) expect(Math.abs(y)).toBeLessThan(1e-9)
    for (const [x] of down!) expect(Math.abs(x - 100)).toBeLessThan(1e-9)
    expect(across!.at(-1)).toEqual([100, 0, 100 / 255])
    expect(down![0]).toEqual([100, 0, 100 / 255])
    expect(down!.at(-1)).toEqual([100, 100, 200 / 255])
    expect(across!.length + down!.length).toBe(22)
  })

  test('bear points that lie on each other, and lines of any length', () => {
    expect(
      stretches([5, 5, 5, 5, 5, 5], undefined, 2)
        .flat()
        .every((point) => point.every(Number.isFinite)),
    ).toBe(true)
    expect(stretches([0, 0, 1e6, 1e6], undefined, 2).flat().length).toBeLessThan(80)
    expect(stretches([], undefined, 2).flat()).toEqual([])
  })
})
