/** The tool in hand, its colour and its width; remembered from visit to visit. */

import { signal } from '@preact/signals'
import { PALETTE } from '../canvas/ink'
import type { ToolName } from '../tools/tool'
import { keep, recall } from './keeping'

export const WIDTHS = [2.5, 5, 10, 22] as const
export const WIDTH_NAMES = ['Fine', 'Medium', 'Bold', 'Broad'] as const

const isIndexOf =
  (list: readonly unknown[]) =>
  (value: unknown): value is number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) < list.length

export const tool = signal<ToolName>('pen')
export const colorIndex = signal(recall('color', isIndexOf(PALETTE)) ?? 0)
export const widthIndex = signal(recall('width', isIndexOf(WIDTHS)) ?? 1)

export const penStyle = () => ({
  color: PALETTE[colorIndex.value]?.light ?? '#1b2421',
  width: WIDTHS[widthIndex.value] ?? 5,
})

/** Choosing a colour or a width means wanting to draw. */
export function chooseColor(index: number): void {
  if (!isIndexOf(PALETTE)(index)) return
  colorIndex.value = index
  tool.value = 'pen'
  keep('color', index)
}

export function chooseWidth(index: number): void {
  if (!isIndexOf(WIDTHS)(index)) return
  widthIndex.value = index
  tool.value = 'pen'
  keep('width', index)
}
