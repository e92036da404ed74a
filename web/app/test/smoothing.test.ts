import { describe, expect, test } from 'vitest'
import { type InkPoint, pressureAt, type Sample, Smoother } from '../src/tools/smoothing'

function draw(samples: readonly Sample[], zoom = 1): InkPoint[] {
  const smoother = new Smoother(zoom)
  const points = samples.slice(0, -1).map((sample) => smoother.add(sample))
  return [...points, smoother.end(samples.at(-1)!)].filter((point) => point !== undefined)
}

const way = (step: number, count = 60): Sample[] =>
  Array.from({ length: count }, (_, i) => ({ x: i * step, y: 0, time: i * 8 }))

describe('smoothing', () => {
  test('begins and ends where the hand did', () => {
    const points = draw(way(5))
    expect(points[0]).toMatchObject({ x: 0, y: 0 })
    expect(points.at(-1)).toMatchObject({ x: 295, y: 0 })
  })

  test('takes most of the tremble out of a slow line', () => {
    const shaky = way(1.5).map((sample, i) => ({ ...sample, y: i % 2 === 0 ? 1 : -1 }))
    const inner = draw(shaky).slice(4, -1)
    expect(Math.max(...inner.map((point) => Math.abs(point.y)))).toBeLessThan(0.6)
  })

  test('does not lag behind a quick hand', () => {
    const points = draw(way(20))
    expect(295 * 4 - points.at(-2)!.x).toBeLessThan(30)
  })

  test('gives a mouse a pressure that falls with its speed', () => {
    expect(pressureAt(0)).toBeGreaterThan(pressureAt(1))
    expect(pressureAt(9)).toBe(pressureAt(3))
    const slow = draw(way(1)).at(-1)!.pressure
    const quick = draw(way(25)).at(-1)!.pressure
    expect(slow).toBeGreaterThan(quick + 40)
  })

  test('follows the pressure of a pen', () => {
    const pressed = way(4).map((sample) => ({ ...sample, pressure: 0.9 }))
    expect(draw(pressed).at(-1)!.pressure).toBeGreaterThan(220)
  })

  test('says nothing of a hand that rests', () => {
    const resting = Array.from({ length: 50 }, (_, i) => ({ x: 10, y: 10, time: i * 8 }))
    expect(draw(resting)).toHaveLength(1)
  })

  test('draws as finely when zoomed in as the screen shows', () => {
    const tiny = Array.from({ length: 40 }, (_, i) => ({ x: i * 0.5, y: 0, time: i * 8 }))
    expect(draw(tiny, 4).length).toBeGreaterThan(draw(tiny, 1).length)
  })
})
