/** Those who only watch: counted beside those who are here by name. */

import { WebSocket } from 'ws'
import { Client } from '../../client/src/client'
import type { SocketConstructor } from '../../client/src/connection'
import { draw, elements, expect, linkOf, newBoard, openBoard, type Page, seesInk, INK, test } from './studio'

const asWatcher = (address: string): string => address.replace('#', '?watch#')

const watching = (page: Page, label: string): Promise<void> =>
  expect(page.getByRole('note', { name: label })).toBeVisible()

const shot = async (page: Page, name: string): Promise<void> => {
  if (process.env['SHOTS']) await page.screenshot({ path: `${process.env['SHOTS']}/${name}.png` })
}

test('whoever watches needs no name and no tools, sees everything and is counted', async ({ somebody }) => {
  const ada = await somebody()
  await newBoard(ada)
  const link = await linkOf(ada, 'viewer')
  await draw(ada, [
    [300, 300],
    [500, 400],
  ])
  const bob = await somebody()
  const asked: string[] = []
  bob.on('request', (request) => asked.push(new URL(request.url()).pathname))
  await openBoard(bob, asWatcher(link))
  await elements(bob, 1)
  await watching(bob, 'Only you are watching')
  await watching(ada, '1 person is watching')
  await expect(bob.getByRole('toolbar')).toHaveCount(0)
  await expect(bob.getByRole('complementary', { name: 'Who you are here' })).toHaveCount(0)
  await expect(bob.getByText('You are watching.')).toBeVisible()
  expect(asked.some((path) => path.endsWith('/snapshots/latest'))).toBe(true)

  // Ada is here by name, and nobody else is.
  await bob.getByRole('button', { name: '1 person is here' }).click()
  await expect(bob.locator('.people').getByRole('listitem')).toHaveCount(1)
  await expect(bob.getByRole('button', { name: 'Change my name' })).toHaveCount(0)
  await bob.keyboard.press('Escape')

  await draw(ada, [
    [300, 500],
    [500, 500],
  ])
  await elements(bob, 2)
  const cy = await somebody()
  await openBoard(cy, asWatcher(link))
  await watching(ada, '2 people are watching')
  await watching(bob, 'You and 1 other are watching')
  await shot(ada, 'watching-draws')
  await shot(bob, 'watching-watches')
  await bob.close()
  await watching(ada, '1 person is watching')
  await cy.close()
  await expect(ada.locator('.watching')).toHaveCount(0)
})

test('on a phone in the dark the number stands beside the faces', async ({ somebody }) => {
  const ada = await somebody()
  const address = await newBoard(ada)
  await draw(ada, [
    [300, 300],
    [500, 400],
  ])
  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true } as const
  const bob = await somebody({ ...phone, colorScheme: 'dark' })
  await openBoard(bob, asWatcher(address))
  await watching(bob, 'Only you are watching')
  const cy = await somebody({ ...phone, colorScheme: 'light' })
  await openBoard(cy, address)
  await watching(cy, '1 person is watching')
  for (const page of [bob, cy]) {
    const bars = await Promise.all((await page.locator('.top > .bar').all()).map((bar) => bar.boundingBox()))
    expect(bars[0]!.x + bars[0]!.width).toBeLessThanOrEqual(bars[1]!.x)
    expect(bars[1]!.x + bars[1]!.width).toBeLessThanOrEqual(390)
    const number = await page.locator('.watching').boundingBox()
    expect(number!.width).toBeGreaterThan(20)
  }
  await shot(bob, 'watching-phone-dark')
  await shot(cy, 'watching-phone-light')
  await seesInk(ada, 400, 350, INK.black)
})

test('a viewer who comes into a crowd is one of the audience', async ({ somebody, server }) => {
  const ada = await somebody()
  await newBoard(ada)
  const link = new URL(await linkOf(ada, 'viewer'))
  const [room, secret] = [link.pathname.split('/').at(-1)!, link.hash.slice(1)]
  const crowd = Array.from({ length: 200 }, () => {
    const client = new Client({ url: server.url, audience: true, WebSocket: WebSocket as unknown as SocketConstructor })
    client.join(room, { link: secret })
    return client
  })
  try {
    await watching(ada, '200 people are watching')
    const bob = await somebody()
    await openBoard(bob, link.href)
    await watching(bob, 'You and 200 others are watching')
    await watching(ada, '201 people are watching')
    await expect(bob.getByText('You are watching.')).toBeVisible()
    await shot(bob, 'watching-crowd')
  } finally {
    for (const client of crowd) client.close()
  }
})

test('a watcher whose link is revoked is told so', async ({ somebody }) => {
  const ada = await somebody()
  await newBoard(ada)
  const link = await linkOf(ada, 'viewer')
  const bob = await somebody()
  await openBoard(bob, asWatcher(link))
  await watching(bob, 'Only you are watching')
  await ada.getByRole('button', { name: 'Share' }).click()
  const row = ada.locator('.link-list li', { hasText: 'Can view' })
  await row.getByRole('button', { name: 'Revoke' }).click()
  await row.getByRole('button', { name: 'Really revoke' }).click()
  await expect(bob.locator('[data-trouble=revoked]')).toBeVisible()
})
