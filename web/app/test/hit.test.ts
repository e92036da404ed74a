import { describe, expect, test } from 'vitest'
import { touched, touches } from '../src/canvas/hit'
import { Scene } from '../src/canvas/scene'
import { box, line, note, stroke, text } from './shapes'

const at = (x: number, y: number) => ({ x, y })
const dab = (shape: Parameters<typeof touches>[0], x: number, y: number, radius = 5) =>
  touches(shape, at(x, y), at(x, y), radius)

describe('the eraser', () => {
  test('touches the ink of a stroke, not the space within its bounds', () => {
    const corner = stroke('a', [0, 0, 0, 100, 100, 100])
    expect(dab(corner, 0, 50)).toBe(true)
    expect(dab(corner, 6, 50)).toBe(true)
    expect(dab(corner, 8, 50)).toBe(false)
    expect(dab(corner, 60, 40)).toBe(false)
  })

  test('misses nothing that it swept over between two events', () => {
    const upright = stroke('a', [50, -100, 50, 100])
    expect(touches(upright, at(0, 0), at(100, 3), 1)).toBe(true)
    expect(touches(upright, at(0, 120), at(100, 120), 5)).toBe(false)
  })

  test('touches a dot', () => {
    expect(dab(stroke('dot', [10, 10]), 13, 10)).toBe(true)
    expect(dab(stroke('dot', [10, 10]), 30, 10)).toBe(false)
  })

  test('touches a stroke where it lies now', () => {
    const moved = stroke('a', [0, 0, 10, 0], { offset: [500, 500] })
    expect(dab(moved, 505, 500)).toBe(true)
    expect(dab(moved, 5, 0)).toBe(false)
  })

  test('touches the edge of a box, and its inside only if it is filled', () => {
    for (const kind of ['rectangle', 'ellipse'] as const) {
      expect(dab(box(kind, [0, 0, 100, 60]), 0, 30)).toBe(true)
      expect(dab(box(kind, [0, 0, 100, 60]), 50, 30)).toBe(false)
      expect(dab(box(kind, [0, 0, 100, 60], '#00000000'), 50, 30)).toBe(false)
      expect(dab(box(kind, [0, 0, 100, 60], '#ff0000'), 50, 30)).toBe(true)
    }
    expect(dab(box('ellipse', [0, 0, 100, 100]), 2, 2)).toBe(false)
  })

  test('touches the head of an arrow beside its shaft', () => {
    const beside = at(90, 8)
    expect(touches(line('line', [0, 0], [100, 0]), beside, beside, 1)).toBe(false)
    expect(touches(line('arrow', [0, 0], [100, 0]), beside, beside, 3)).toBe(true)
  })

  test('touches text and notes where they stand', () => {
    expect(dab(text('hello'), 20, 10)).toBe(true)
    expect(dab(text('hello'), 90, 10)).toBe(false)
    expect(dab(note('remember'), 64, 64)).toBe(true)
  })

  test('finds what it touches among much that it does not', () => {
    const scene = new Scene()
    for (let i = 0; i < 500; i += 1) scene.put(stroke(`s${i}`, [i * 20, 0, i * 20, 10], { z: i }))
    expect(touched(scene, at(95, 5), at(125, 5), 2)).toEqual(['s5', 's6'])
  })
})
