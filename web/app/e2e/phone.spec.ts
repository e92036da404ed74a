/** A phone in the dark. */

import { elements, expect, newBoard, openBoard, type Page, saved, seesInk, test } from './studio'

const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 3,
  hasTouch: true,
  isMobile: true,
  colorScheme: 'dark',
} as const

type Finger = { x: number; y: number }

/** Moves fingers over the glass: one position each per step. */
async function fingers(page: Page, steps: readonly (readonly Finger[])[]): Promise<void> {
  const glass = await page.context().newCDPSession(page)
  const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', points: readonly Finger[]) =>
    glass.send('Input.dispatchTouchEvent', { type, touchPoints: points.map((point, id) => ({ ...point, id })) })
  const [first, ...rest] = steps
  await touch('touchStart', first ?? [])
  for (const step of rest) await touch('touchMove', step)
  await touch('touchEnd', [])
  await glass.detach()
}

const along = (from: Finger, to: Finger, count = 12): Finger[] =>
  Array.from({ length: count + 1 }, (_, i) => ({
    x: from.x + ((to.x - from.x) * i) / count,
    y: from.y + ((to.y - from.y) * i) / count,
  }))

test('one finger draws, two move and zoom, and the page itself stays still', async ({ somebody }) => {
  const page = await somebody(PHONE)
  const address = await newBoard(page)
  const toolbar = await page.getByRole('toolbar').boundingBox()
  expect(toolbar!.x).toBeGreaterThanOrEqual(0)
  expect(toolbar!.x + toolbar!.width).toBeLessThanOrEqual(390)
  expect(toolbar!.y + toolbar!.height).toBeLessThanOrEqual(844)

  await fingers(
    page,
    along({ x: 80, y: 300 }, { x: 300, y: 320 }).map((finger) => [finger]),
  )
  await elements(page, 1)
  await seesInk(page, 190, 310, '#ebefe9')
  await saved(page)

  const left = along({ x: 150, y: 400 }, { x: 60, y: 400 })
  const right = along({ x: 240, y: 400 }, { x: 330, y: 400 })
  await fingers(
    page,
    left.map((finger, i) => [finger, right[i]!]),
  )
  await elements(page, 1)
  await expect.poll(() => page.evaluate(() => [scrollX, scrollY, visualViewport?.scale])).toEqual([0, 0, 1])
  // The line is now three times as wide as the fingers were apart, and its middle stays between them.
  await seesInk(page, 195, 130, '#ebefe9')

  const other = await somebody()
  await openBoard(other, address)
  await elements(other, 1)
})

test('the bars do not overlap, and everything can be reached', async ({ somebody }) => {
  const page = await somebody(PHONE)
  const address = await newBoard(page)
  const other = await somebody()
  await openBoard(other, address)
  await expect(page.getByRole('button', { name: '2 people are here' })).toBeVisible()
  const [naming, doing] = await Promise.all((await page.locator('.top > .bar').all()).map((bar) => bar.boundingBox()))
  expect(naming!.x + naming!.width).toBeLessThanOrEqual(doing!.x)
  expect(doing!.x + doing!.width).toBeLessThanOrEqual(390)

  await page.getByRole('button', { name: /Colour and width/ }).tap()
  await page.getByRole('radio', { name: 'Plum' }).tap()
  await page.getByRole('radio', { name: 'Broad' }).tap()
  await page.getByRole('button', { name: /Colour and width/ }).tap()
  await expect(page.getByRole('radio', { name: 'Plum' })).toHaveCount(0)
  await page.getByRole('button', { name: 'Share' }).tap()
  await expect(page.getByRole('dialog', { name: 'Share this board' })).toBeVisible()
})

test('the landing page fits the phone', async ({ somebody, server }) => {
  const page = await somebody(PHONE)
  await page.goto(server.origin)
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(18, 23, 22)')
})
