import { describe, expect, test } from 'vitest'
import { noteInk, PALETTE, PAPER, shown } from '../src/canvas/ink'

/** Contrast as WCAG counts it. */
function contrast(a: string, b: string): number {
  const luminance = (color: string) => {
    const [r, g, bl] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(color.slice(at, at + 2), 16) / 255
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    }) as [number, number, number]
    return 0.2126 * r + 0.7152 * g + 0.0722 * bl
  }
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number]
  return (light + 0.05) / (dark + 0.05)
}

describe('ink', () => {
  test('of the palette can be told from the paper in both themes', () => {
    for (const ink of PALETTE) {
      expect(contrast(ink.light, PAPER.light), ink.name).toBeGreaterThan(2)
      expect(contrast(shown(ink.light, 'dark'), PAPER.dark), ink.name).toBeGreaterThan(5)
    }
  })

  test('of any colour stays readable on dark paper', () => {
    for (const color of ['#000000', '#1a1a1a', '#333333', '#0000ff', '#800000', '#004400', '#4b0082']) {
      expect(contrast(shown(color, 'dark'), PAPER.dark), color).toBeGreaterThan(3)
    }
  })

  test('keeps its opacity and its light-theme colour', () => {
    expect(shown('#00000080', 'dark')).toMatch(/^#[0-9a-f]{6}80$/)
    expect(shown('#123456', 'light')).toBe('#123456')
  })

  test('on a note can be read', () => {
    for (const paper of ['#f6d98b', '#ffffff', '#222222', '#7d4cb2'])
      expect(contrast(noteInk(paper), paper)).toBeGreaterThan(4)
  })
})
