/** Saving the whole board as a picture: as it looks now, in the present theme, with a margin. */

import { heightOf, type Rect, widthOf } from '../canvas/geometry'
import { PAPER } from '../canvas/ink'
import { Painter } from '../canvas/painter'
import type { Shape } from '../canvas/shape'
import type { Stage } from '../canvas/stage'
import { exportArea, toSvg } from '../canvas/svg'
import { say } from './toast'

/** Pixels per unit, unless the picture would become larger than browsers can make. */
const PNG_SCALE = 2
const SIDE_MAX = 8_192
const PIXELS_MAX = 32_000_000
/** Milliseconds of painting between two breaths of the page. */
const SLICE_MS = 40

export async function exportPng(stage: Stage, title: string): Promise<void> {
  const area = exportArea(stage.scene.bounds)
  const scale = pngScale(area)
  const canvas = document.createElement('canvas')
  canvas.width = Math.ceil(widthOf(area) * scale)
  canvas.height = Math.ceil(heightOf(area) * scale)
  const context = canvas.getContext('2d')
  if (!context) return say('This browser cannot make pictures.', 'bad')
  context.fillStyle = PAPER[stage.theme]
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.setTransform(scale, 0, 0, scale, -area.left * scale, -area.top * scale)
  await paintAll(new Painter(context, scale, stage.theme), stage.scene.all())
  canvas.toBlob(
    (blob) => (blob ? download(blob, title, 'png') : say('The picture is too large for this browser.', 'bad')),
    'image/png',
  )
}

export function exportSvg(stage: Stage, title: string): void {
  const { scene, theme } = stage
  const svg = toSvg(scene.all(), scene.bounds, theme, title)
  download(new Blob([svg], { type: 'image/svg+xml' }), title, 'svg')
}

export function pngScale(area: Rect): number {
  const width = widthOf(area)
  const height = heightOf(area)
  return Math.min(PNG_SCALE, SIDE_MAX / width, SIDE_MAX / height, Math.sqrt(PIXELS_MAX / (width * height)))
}

async function paintAll(painter: Painter, shapes: readonly Shape[]): Promise<void> {
  let breath = performance.now() + SLICE_MS
  for (const shape of shapes) {
    painter.draw(shape)
    if (performance.now() < breath) continue
    painter.flush()
    await new Promise((resolve) => setTimeout(resolve))
    breath = performance.now() + SLICE_MS
  }
  painter.flush()
}

function download(blob: Blob, title: string, ending: string): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = `${fileName(title)}.${ending}`
  link.click()
  // The browser has to have begun reading before the address may go.
  setTimeout(() => URL.revokeObjectURL(address), 60_000)
}

/** A title as a file name that every system takes. */
export function fileName(title: string): string {
  const safe = title
    .replace(/[\p{C}\\/:*?"<>|]/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 80)
  return safe || 'board'
}
