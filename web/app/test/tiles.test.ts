import { describe, expect, test } from 'vitest'
import { covers, rectOf } from '../src/canvas/geometry'
import { areaOf, keyOf, levelFor, scaleOf, TILE, touchedTiles, tilesOver } from '../src/canvas/tiles'
import { ZOOM_MAX, ZOOM_MIN } from '../src/canvas/viewport'

describe('tiles', () => {
  test('are painted at the scale of 100 % exactly, and never enlarged', () => {
    expect(levelFor(1)).toBe(0)
    expect(scaleOf(0, 2)).toBe(2)
    for (let zoom = ZOOM_MIN; zoom <= ZOOM_MAX; zoom *= 1.01) {
      const shrink = scaleOf(levelFor(zoom), 1) / zoom
      expect(shrink).toBeGreaterThan(0.999)
      expect(shrink).toBeLessThan(Math.SQRT2 * 1.001)
    }
  })

  test('cover an area without gap or overlap, the middle first', () => {
    const area = rectOf(-700, 130, 2_000, 900)
    const tiles = tilesOver(area, -1, 1)
    const areas = tiles.map((tile) => areaOf(tile, 1))
    const edge = TILE / scaleOf(-1, 1)
    expect(new Set(tiles.map(keyOf)).size).toBe(tiles.length)
    expect(tiles.length).toBe((Math.floor(1_300 / edge) - Math.floor(-700 / edge) + 1) * (Math.floor(1_030 / edge) + 1))
    const around = areas.reduce((a, b) => ({
      left: Math.min(a.left, b.left),
      top: Math.min(a.top, b.top),
      right: Math.max(a.right, b.right),
      bottom: Math.max(a.bottom, b.bottom),
    }))
    expect(covers(around, area)).toBe(true)
    expect(covers(areas[0]!, rectOf(300, 580, 0, 0))).toBe(true)
  })

  test('on the screen are bounded at every zoom and on sharp screens', () => {
    for (let zoom = ZOOM_MIN; zoom <= ZOOM_MAX; zoom *= 1.07) {
      const seen = rectOf(12_345, -777, 1_440 / zoom, 900 / zoom)
      expect(tilesOver(seen, levelFor(zoom), 2).length).toBeLessThanOrEqual(80)
    }
  })

  test('become stale where something changed, and only there', () => {
    const tiles = tilesOver(rectOf(0, 0, 4 * TILE - 1, TILE - 1), 0, 1).map((id) => ({ ...id, area: areaOf(id, 1) }))
    expect(tiles).toHaveLength(4)
    const stale = (x: number, width: number) =>
      touchedTiles(tiles, rectOf(x, 10, width, 10))
        .map((tile) => tile.column)
        .sort()
    expect(stale(10, 20)).toEqual([0])
    expect(stale(TILE - 5, 10)).toEqual([0, 1])
    expect(stale(TILE * 2 + 5, TILE)).toEqual([2, 3])
    expect(stale(-500, 100)).toEqual([])
  })
})
