/**
 * The plane cut into square tiles at fixed scales, so that what was painted once is only copied while one pans and
 * zooms. Pure arithmetic: which scale serves a zoom, which tiles a view needs, where a tile lies.
 */

import { intersects, type Rect } from './geometry'

/** Edge of a tile in device pixels. */
export const TILE = 512

export interface TileId {
  /** Half octaves: a board unit has `2^(level/2)` CSS pixels. */
  readonly level: number
  readonly column: number
  readonly row: number
}

export const keyOf = (id: TileId): string => `${id.level}:${id.column}:${id.row}`

/** The scale that a tile of this level is painted at, in device pixels per board unit. */
export const scaleOf = (level: number, pixelRatio: number): number => 2 ** (level / 2) * pixelRatio

/** The coarsest level that need not be enlarged: tiles are only ever shown as painted or a little smaller. */
export function levelFor(zoom: number): number {
  return Math.ceil(2 * Math.log2(zoom) - 1e-6) || 0
}

/** The board's part under a tile. */
export function areaOf(id: TileId, pixelRatio: number): Rect {
  const edge = TILE / scaleOf(id.level, pixelRatio)
  return {
    left: id.column * edge,
    top: id.row * edge,
    right: (id.column + 1) * edge,
    bottom: (id.row + 1) * edge,
  }
}

/** The tiles that cover an area, those nearest to its middle first: people look at the middle. */
export function tilesOver(area: Rect, level: number, pixelRatio: number): TileId[] {
  const edge = TILE / scaleOf(level, pixelRatio)
  const ids: TileId[] = []
  for (let row = Math.floor(area.top / edge); row * edge < area.bottom; row += 1) {
    for (let column = Math.floor(area.left / edge); column * edge < area.right; column += 1) {
      ids.push({ level, column, row })
    }
  }
  const middle = { x: (area.left + area.right) / 2 / edge - 0.5, y: (area.top + area.bottom) / 2 / edge - 0.5 }
  const distance = (id: TileId) => Math.max(Math.abs(id.column - middle.x), Math.abs(id.row - middle.y))
  return ids.sort((a, b) => distance(a) - distance(b))
}

/** Those of the tiles that a change in `area` touches. */
export function touchedTiles<T extends { readonly area: Rect }>(tiles: Iterable<T>, area: Rect): T[] {
  return [...tiles].filter((tile) => intersects(tile.area, area))
}
