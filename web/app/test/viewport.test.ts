import { describe, expect, test } from 'vitest'
import {
  fit,
  panBy,
  pinch,
  resized,
  toBoard,
  toScreen,
  visible,
  ZOOM_MAX,
  ZOOM_MIN,
  zoomAt,
  zoomStep,
} from '../src/canvas/viewport'

const view = { x: 100, y: -50, zoom: 0.5 }

describe('a viewport', () => {
  test('maps to the board and back', () => {
    expect(toBoard(view, { x: 10, y: 20 })).toEqual({ x: 120, y: -10 })
    expect(toScreen(view, toBoard(view, { x: 33, y: 44 }))).toEqual({ x: 33, y: 44 })
  })

  test('moves the paper with the hand, as far on the screen at every zoom', () => {
    const before = toScreen(view, { x: 0, y: 0 })
    const after = toScreen(panBy(view, 30, -12), { x: 0, y: 0 })
    expect(after.x - before.x).toBeCloseTo(30)
    expect(after.y - before.y).toBeCloseTo(-12)
  })

  test('keeps the point under the pointer while it zooms', () => {
    const anchor = { x: 321, y: 123 }
    for (const zoom of [0.07, 0.5, 1, 3.9]) {
      const zoomed = zoomAt(view, anchor, zoom)
      expect(toScreen(zoomed, toBoard(view, anchor)).x).toBeCloseTo(anchor.x)
      expect(toScreen(zoomed, toBoard(view, anchor)).y).toBeCloseTo(anchor.y)
    }
  })

  test('zooms no farther than 5 % and no nearer than 400 %', () => {
    expect(zoomAt(view, { x: 0, y: 0 }, 0.0001).zoom).toBe(ZOOM_MIN)
    expect(zoomAt(view, { x: 0, y: 0 }, 1_000).zoom).toBe(ZOOM_MAX)
  })

  test('never leaves the plane', () => {
    expect(panBy(view, 1e12, -1e12)).toEqual({ x: -1_000_000, y: 1_000_000, zoom: 0.5 })
  })

  test('steps through round zooms and lands on 100 %', () => {
    expect(zoomStep(0.9, 1)).toBe(1)
    expect(zoomStep(1.3, -1)).toBe(1)
    expect(zoomStep(0.99995, 1)).toBe(1.5)
    expect(zoomStep(4, 1)).toBe(4)
    expect(zoomStep(0.05, -1)).toBe(0.05)
  })

  test('keeps the points under two fingers under them', () => {
    const before = [
      { x: 100, y: 100 },
      { x: 200, y: 100 },
    ] as const
    const after = [
      { x: 50, y: 160 },
      { x: 250, y: 160 },
    ] as const
    const pinched = pinch(view, before, after)
    expect(pinched.zoom).toBeCloseTo(1)
    for (const finger of [0, 1] as const) {
      const moved = toScreen(pinched, toBoard(view, before[finger]))
      expect(moved.x).toBeCloseTo(after[finger].x)
      expect(moved.y).toBeCloseTo(after[finger].y)
    }
  })

  test('fits everything, centred, and never larger than life', () => {
    const size = { width: 1000, height: 600 }
    const large = { left: -4000, top: 0, right: 4000, bottom: 1000 }
    const fitted = fit(large, size)
    const seen = visible(fitted, size)
    expect(seen.left).toBeLessThan(large.left)
    expect(seen.right).toBeGreaterThan(large.right)
    expect((seen.left + seen.right) / 2).toBeCloseTo(0)
    expect((seen.top + seen.bottom) / 2).toBeCloseTo(500)
    expect(fit({ left: 0, top: 0, right: 10, bottom: 10 }, size).zoom).toBe(1)
    expect(visible(fit(undefined, size), size)).toEqual({ left: -500, top: -300, right: 500, bottom: 300 })
  })

  test('keeps its middle when the window changes its size', () => {
    const from = { width: 800, height: 600 }
    const to = { width: 400, height: 900 }
    const middle = toBoard(view, { x: 400, y: 300 })
    expect(toScreen(resized(view, from, to), middle)).toEqual({ x: 200, y: 450 })
  })
})
