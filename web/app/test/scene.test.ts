import { describe, expect, test } from 'vitest'
import { rectOf } from '../src/canvas/geometry'
import { Scene } from '../src/canvas/scene'
import { stroke } from './shapes'

const everywhere = rectOf(-1e6, -1e6, 2e6, 2e6)

describe('a scene', () => {
  test('adds on top without painting anything anew', () => {
    const scene = new Scene()
    expect(scene.put(stroke('a', [0, 0, 10, 10], { z: 1 })).added?.id).toBe('a')
    expect(scene.put(stroke('b', [0, 0, 10, 10], { z: 2 })).added?.id).toBe('b')
  })

  test('paints anew where something slips below, changes or goes', () => {
    const scene = new Scene()
    scene.put(stroke('a', [0, 0, 10, 10], { z: 5 }))
    expect(scene.put(stroke('below', [0, 0, 10, 10], { z: 2 })).added).toBeUndefined()
    const moved = scene.put(stroke('a', [0, 0, 10, 10], { z: 5, offset: [100, 0] }))
    expect(moved.added).toBeUndefined()
    expect(moved.area.left).toBeLessThan(0)
    expect(moved.area.right).toBeGreaterThan(110)
    expect(scene.remove('a')?.area.left).toBeGreaterThan(90)
    expect(scene.remove('a')).toBeUndefined()
  })

  test('lists the pile from below, equal heights by their ids', () => {
    const scene = new Scene()
    for (const [id, z] of [
      ['c', 2],
      ['b', 3],
      ['a', 3],
      ['d', 1],
    ] as const)
      scene.put(stroke(id, [0, 0, 5, 5], { z }))
    expect(scene.all().map(({ id }) => id)).toEqual(['d', 'c', 'a', 'b'])
    expect(scene.within(everywhere).map(({ id }) => id)).toEqual(['d', 'c', 'a', 'b'])
  })

  test('knows how far everything reaches, ink included', () => {
    const scene = new Scene()
    expect(scene.bounds).toBeUndefined()
    scene.put(stroke('a', [0, 0, 100, 0], { width: 10 }))
    const bounds = scene.bounds!
    expect(bounds.top).toBeLessThanOrEqual(-8)
    expect(bounds.right).toBeGreaterThanOrEqual(108)
    scene.remove('a')
    expect(scene.bounds).toBeUndefined()
  })
})
