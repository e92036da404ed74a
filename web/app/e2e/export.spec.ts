/** The board as a file. */

import { readFileSync } from 'node:fs'
import { draw, elements, expect, INK, newBoard, type Page, test } from './studio'

async function saveAs(page: Page, kind: 'PNG' | 'SVG'): Promise<{ name: string; bytes: Buffer }> {
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Menu' }).click()
  await page.getByRole('button', { name: `Save as ${kind}` }).click()
  const file = await download
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) }
}

/** Which of these colours a picture has. */
function colorsIn(page: Page, png: Buffer, colors: readonly string[]): Promise<boolean[]> {
  return page.evaluate(
    async ({ bytes, colors }) => {
      const image = await createImageBitmap(new Blob([Uint8Array.from(bytes)], { type: 'image/png' }))
      const canvas = new OffscreenCanvas(image.width, image.height)
      const context = canvas.getContext('2d')!
      context.drawImage(image, 0, 0)
      const { data } = context.getImageData(0, 0, image.width, image.height)
      const seen = new Set<string>()
      for (let i = 0; i < data.length; i += 4) {
        seen.add(
          `#${[data[i]!, data[i + 1]!, data[i + 2]!].map((value) => value.toString(16).padStart(2, '0')).join('')}`,
        )
      }
      return colors.map((color) => seen.has(color))
    },
    { bytes: [...png], colors },
  )
}

for (const theme of ['light', 'dark'] as const) {
  test(`PNG and SVG show everything, in ${theme}`, async ({ somebody }) => {
    const page = await somebody({ colorScheme: theme })
    await newBoard(page)
    await draw(page, [
      [300, 300],
      [700, 300],
    ])
    await page.keyboard.press('3')
    await draw(page, [
      [300, 500],
      [700, 500],
    ])
    await elements(page, 2)
    const inks = theme === 'light' ? [INK.black, INK.red, '#fbfbf8'] : ['#ebefe9', '#f17f7f', '#161b1a']

    const png = await saveAs(page, 'PNG')
    expect(png.name).toMatch(/\.png$/)
    expect(png.bytes.subarray(1, 4).toString()).toBe('PNG')
    const [width, height] = [png.bytes.readUInt32BE(16), png.bytes.readUInt32BE(20)]
    // 400 by 200 units and a margin around, two pixels a unit.
    expect(width).toBeGreaterThan(2 * 470)
    expect(width).toBeLessThan(2 * 510)
    expect(height).toBeGreaterThan(2 * 270)
    expect(height).toBeLessThan(2 * 310)
    expect(await colorsIn(page, png.bytes, inks)).toEqual([true, true, true])

    const svg = (await saveAs(page, 'SVG')).bytes.toString()
    expect(svg.match(/<path /g)).toHaveLength(2)
    for (const ink of inks) expect(svg).toContain(`fill="${ink}"`)
    const parsed = await page.evaluate(
      (text) => new DOMParser().parseFromString(text, 'image/svg+xml').documentElement.tagName,
      svg,
    )
    expect(parsed).toBe('svg')
  })
}
