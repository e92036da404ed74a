import { describe, expect, test } from 'vitest'
import { intersects, type Rect, rectOf } from '../src/canvas/geometry'
import { Grid } from '../src/canvas/grid'

/** A small generator of chance (mulberry32), so that a failure can be repeated. */
function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function anyRect(random: () => number): Rect {
  const size = 2 ** (random() * 20)
  return rectOf((random() - 0.5) * 2_000_000, (random() - 0.5) * 2_000_000, size * random(), size * random())
}

describe('the grid', () => {
  test('finds exactly what a look at everything finds', () => {
    const random = chance(7)
    const grid = new Grid()
    const all = new Map<string, Rect>()
    for (let i = 0; i < 3_000; i += 1) {
      const id = `e${Math.floor(random() * 2_000)}`
      if (random() < 0.2) {
        grid.remove(id)
        all.delete(id)
      } else {
        const rect = anyRect(random)
        grid.put(id, rect)
        all.set(id, rect)
      }
    }
    expect(grid.size).toBe(all.size)
    for (let i = 0; i < 200; i += 1) {
      const area = anyRect(random)
      const expected = [...all].filter(([, rect]) => intersects(rect, area)).map(([id]) => id)
      expect([...grid.query(area)].sort()).toEqual(expected.sort())
    }
  })

  test('forgets where an element was before it moved', () => {
    const grid = new Grid()
    grid.put('a', rectOf(0, 0, 10, 10))
    grid.put('a', rectOf(5_000, 0, 10, 10))
    expect([...grid.query(rectOf(-50, -50, 100, 100))]).toEqual([])
    expect([...grid.query(rectOf(4_990, 0, 100, 100))]).toEqual(['a'])
    expect(grid.remove('a')).toEqual(rectOf(5_000, 0, 10, 10))
    expect(grid.remove('a')).toBeUndefined()
    expect(grid.size).toBe(0)
  })

  test('holds what lies on the edges of the plane', () => {
    const grid = new Grid()
    grid.put('corner', rectOf(999_990, -1_000_000, 10, 10))
    grid.put('line', rectOf(-1_000_000, -1_000_000, 2_000_000, 2_000_000))
    expect([...grid.query(rectOf(999_995, -999_995, 1, 1))].sort()).toEqual(['corner', 'line'])
  })
})
