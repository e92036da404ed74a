/** The paper under the ink: a faint lattice of dots that shows how far and how fast one moves. */

import type { Theme } from './ink'
import type { Viewport } from './viewport'

const SPACING = 24
/** Dots nearer to each other than this many CSS pixels would be noise. */
const SPACING_MIN = 18
const COLOR: Readonly<Record<Theme, string>> = { light: '#dfe3dd', dark: '#272e2c' }

export function paintDots(context: CanvasRenderingContext2D, view: Viewport, pixelRatio: number, theme: Theme): void {
  const scale = view.zoom * pixelRatio
  const spacing = SPACING * 2 ** Math.max(0, Math.ceil(Math.log2(SPACING_MIN / (SPACING * view.zoom))))
  const dot = Math.max(1, Math.round(1.5 * pixelRatio))
  const { width, height } = context.canvas
  context.fillStyle = COLOR[theme]
  for (let y = Math.ceil(view.y / spacing) * spacing; (y - view.y) * scale < height; y += spacing) {
    for (let x = Math.ceil(view.x / spacing) * spacing; (x - view.x) * scale < width; x += spacing) {
      context.fillRect(Math.round((x - view.x) * scale), Math.round((y - view.y) * scale), dot, dot)
    }
  }
}
