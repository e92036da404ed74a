/** What the tests do in words: open boards, draw, look. Every wait is for something to be seen. */

import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  expect,
  type Page,
  test as base,
} from '@playwright/test'
import { NO_CLUSTER, RealCluster } from '../../client/test/support/real-cluster'
import { BINARY, BINARY_IS_THERE, RealServer } from '../../client/test/support/real-server'

interface Fixtures {
  readonly server: RealServer
  readonly cluster: RealCluster
  /** Opens a page of somebody else: a browser of their own. */
  readonly somebody: (options?: BrowserContextOptions) => Promise<Page>
  /** Opens a page of somebody who comes in by the first of these nodes of the cluster that takes them. */
  readonly somebodyAt: (nodes: readonly RealServer[], options?: BrowserContextOptions) => Promise<Page>
}

if (!BINARY_IS_THERE) console.log(`NOTICE: the browser tests need the server's binary, and there is none at ${BINARY}`)

/** Skips the test, unless everything is said to be there. */
function need(obstacle: string | null): void {
  if (obstacle !== null && process.env['ENFILADE_E2E'] === '1') throw new Error(obstacle)
  test.skip(obstacle !== null, obstacle ?? '')
}

export const test = base.extend<Fixtures>({
  server: async ({}, use) => {
    need(BINARY_IS_THERE ? null : `there is no server at ${BINARY}`)
    const server = await RealServer.start()
    await use(server)
    await server.kill()
    await server.stop()
  },
  cluster: async ({}, use) => {
    need(NO_CLUSTER)
    const cluster = await RealCluster.start(2)
    await use(cluster)
    await cluster.stop()
  },
  somebody: async ({ browser, server }, use) => {
    const contexts: BrowserContext[] = []
    await use(async (options = {}) => {
      const context = await newContext(browser, server.origin, options)
      contexts.push(context)
      return context.newPage()
    })
    for (const context of contexts) await context.close()
  },
  somebodyAt: async ({ browser, cluster }, use) => {
    const contexts: BrowserContext[] = []
    await use(async (nodes, options = {}) => {
      const door = await cluster.door(...nodes)
      const context = await newContext(browser, door.origin, options)
      contexts.push(context)
      return context.newPage()
    })
    for (const context of contexts) await context.close()
  },
})

async function newContext(browser: Browser, origin: string, options: BrowserContextOptions): Promise<BrowserContext> {
  const context = await browser.newContext({ baseURL: origin, reducedMotion: 'reduce', ...options })
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin })
  return context
}

/** From the landing page to an empty board; answers with its address. */
export async function newBoard(page: Page): Promise<string> {
  await page.goto('/')
  await page.getByRole('button', { name: 'New board' }).click()
  await expect(page.getByRole('toolbar')).toBeVisible()
  await saved(page)
  return page.url()
}

export async function openBoard(page: Page, address: string): Promise<void> {
  await page.goto(address)
  await expect(page.locator('.indicator')).toContainText(/Saved|View only/)
}

export const saved = (page: Page): Promise<void> => expect(page.locator('.indicator')).toContainText('Saved')

export type Way = readonly (readonly [x: number, y: number])[]

/** Puts the pen down and moves it, without lifting it. */
export async function penDown(page: Page, way: Way): Promise<void> {
  const [first, ...rest] = way
  if (!first) return
  await page.mouse.move(...first)
  await page.mouse.down()
  await moveTo(page, rest)
}

export async function moveTo(page: Page, way: Way): Promise<void> {
  for (const point of way) await page.mouse.move(...point, { steps: 8 })
}

export async function draw(page: Page, way: Way): Promise<void> {
  await penDown(page, way)
  await page.mouse.up()
}

export const elements = (page: Page, count: number): Promise<void> =>
  expect(page.locator('.surface')).toHaveAttribute('data-elements', String(count))

/** The inks that tests look for, as they are shown on light paper. */
export const INK = { black: '#1b2421', red: '#c73a42', blue: '#2a72c8' } as const

/** Whether ink of a colour is to be seen around a place, dry (on the board) or wet (being drawn). */
export async function inkAt(
  page: Page,
  x: number,
  y: number,
  color: string,
  layer: 'dry' | 'wet' = 'dry',
): Promise<boolean> {
  return page.evaluate(
    ({ x, y, color, layer }) => {
      const canvas = document.querySelectorAll<HTMLCanvasElement>('.surface canvas')[layer === 'dry' ? 0 : 1]
      const context = canvas?.getContext('2d')
      if (!canvas || !context) return false
      const reach = 4
      const ratio = devicePixelRatio
      const side = (2 * reach + 1) * ratio
      const { data } = context.getImageData((x - reach) * ratio, (y - reach) * ratio, side, side)
      const wanted = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16))
      for (let i = 0; i < data.length; i += 4) {
        const off = wanted.reduce((sum, value, channel) => sum + Math.abs(value - (data[i + channel] ?? 0)), 0)
        if (off < 24 && (data[i + 3] ?? 0) > 200) return true
      }
      return false
    },
    { x, y, color, layer },
  )
}

export const seesInk = (page: Page, x: number, y: number, color: string, layer: 'dry' | 'wet' = 'dry'): Promise<void> =>
  expect.poll(() => inkAt(page, x, y, color, layer)).toBe(true)

/** A link that the share dialog gives. */
export async function linkOf(page: Page, role: 'editor' | 'viewer'): Promise<string> {
  await page.getByRole('button', { name: 'Share' }).click()
  const way = page.locator(`.share-way[data-role=${role}]`)
  await way.getByRole('button').click()
  await expect(way.getByRole('button')).toContainText('Copied')
  const address = await way.getByRole('textbox').inputValue()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(address)
  await page.keyboard.press('Escape')
  await expect(page.getByRole('dialog')).toHaveCount(0)
  return address
}

export { expect, type Page }
