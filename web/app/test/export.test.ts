import { describe, expect, test } from 'vitest'
import { widthOf } from '../src/canvas/geometry'
import { PALETTE, PAPER } from '../src/canvas/ink'
import { Scene } from '../src/canvas/scene'
import { EXPORT_MARGIN, exportArea, toSvg } from '../src/canvas/svg'
import { fileName, pngScale } from '../src/state/export'
import { box, line, note, stroke, text } from './shapes'

function sceneOf(...shapes: Parameters<Scene['put']>[0][]): Scene {
  const scene = new Scene()
  for (const shape of shapes) scene.put(shape)
  return scene
}

const svgOf = (scene: Scene, theme: 'light' | 'dark' = 'light') => toSvg(scene.all(), scene.bounds, theme, 'A & B')

describe('an export', () => {
  test('shows everything, with a margin', () => {
    const scene = sceneOf(stroke('a', [-100, 0, 300, 0], { width: 4 }), stroke('b', [0, 900, 10, 900]))
    const area = exportArea(scene.bounds)
    expect(area.left).toBeLessThanOrEqual(-102 - EXPORT_MARGIN)
    expect(area.bottom).toBeGreaterThanOrEqual(902 + EXPORT_MARGIN)
    const box = /viewBox="([^"]+)"/.exec(svgOf(scene))![1]!.split(' ').map(Number)
    expect(box).toEqual(
      [area.left, area.top, widthOf(area), area.bottom - area.top].map((value) => Math.round(value * 100) / 100),
    )
  })

  test('draws every kind of element', () => {
    const svg = svgOf(
      sceneOf(
        stroke('plain', [0, 0, 10, 10]),
        stroke('pressed', [0, 0, 10, 10, 20, 0], { pressure: [50, 128, 200] }),
        line('line', [0, 0], [50, 50]),
        line('arrow', [0, 0], [50, 50]),
        box('rectangle', [0, 0, 10, 10], '#ff000080'),
        box('ellipse', [0, 0, 10, 10]),
        text('one\ntwo'),
        note('three'),
      ),
    )
    expect(svg.match(/<path /g)).toHaveLength(4)
    expect(svg).toContain('<ellipse ')
    expect(svg).toContain('fill="#ff0000" fill-opacity="0.5"')
    for (const word of ['>one<', '>two<', '>three<']) expect(svg).toContain(word)
    expect(svg).not.toContain('NaN')
  })

  test('has the ink and the paper of the theme', () => {
    const scene = sceneOf(stroke('a', [0, 0, 10, 10], { color: PALETTE[0]!.light }))
    expect(svgOf(scene)).toContain(`stroke="${PALETTE[0]!.light}"`)
    expect(svgOf(scene)).toContain(`fill="${PAPER.light}"`)
    expect(svgOf(scene, 'dark')).toContain(`stroke="${PALETTE[0]!.dark}"`)
    expect(svgOf(scene, 'dark')).toContain(`fill="${PAPER.dark}"`)
  })

  test('cannot be broken out of', () => {
    const svg = svgOf(sceneOf(text('</text><script>alert("x")</script>\u0000')))
    expect(svg).not.toContain('<script>')
    expect(svg).toContain('&lt;script&gt;alert(&quot;x&quot;)')
    expect(svg).toContain('<title>A &amp; B</title>')
    expect(svg).not.toContain('\u0000')
  })

  test('of an empty board is a small sheet', () => {
    expect(svgOf(sceneOf())).toMatch(/width="400" height="280"/)
  })

  test('keeps within what browsers can paint', () => {
    expect(pngScale({ left: 0, top: 0, right: 400, bottom: 300 })).toBe(2)
    const huge = { left: 0, top: 0, right: 1_000_000, bottom: 500_000 }
    const scale = pngScale(huge)
    expect(1_000_000 * scale).toBeLessThanOrEqual(8_192)
    expect(1_000_000 * 500_000 * scale ** 2).toBeLessThanOrEqual(32_000_000)
  })

  test('has a name that every system takes', () => {
    expect(fileName('Plans: 3/4 "final"?')).toBe('Plans 3 4 final')
    expect(fileName('///')).toBe('board')
  })
})
