/** Links: what they allow, and what their end means. */

import { draw, elements, expect, INK, linkOf, newBoard, openBoard, saved, seesInk, test } from './studio'

test('a link to view shows everything and lets nobody draw', async ({ somebody }) => {
  const [ada, watcher] = [await somebody(), await somebody()]
  await newBoard(ada)
  const link = await linkOf(ada, 'viewer')
  await openBoard(watcher, link)
  await expect(watcher.getByRole('note')).toContainText('View only')
  await expect(watcher.getByRole('toolbar')).toHaveCount(0)

  await draw(ada, [
    [500, 300],
    [700, 300],
  ])
  await elements(watcher, 1)
  await seesInk(watcher, 600, 300, INK.black)
  await watcher.keyboard.press('p')
  await draw(watcher, [
    [500, 500],
    [600, 500],
  ])
  // The drag moved the paper instead.
  await seesInk(watcher, 700, 300, INK.black)
  await elements(ada, 1)
  await expect(watcher.locator('.surface')).toHaveAttribute('data-elements', '1')
})

test('a revoked link shows the door, and the others stay', async ({ somebody }) => {
  const [ada, bob, watcher] = [await somebody(), await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)
  await openBoard(watcher, await linkOf(ada, 'viewer'))

  await ada.getByRole('button', { name: 'Share' }).click()
  const row = ada.locator('.link-list li', { hasText: 'Can view' })
  await row.getByRole('button', { name: 'Revoke' }).click()
  await row.getByRole('button', { name: 'Really revoke' }).click()
  await expect(row).toHaveCount(0)
  await expect(watcher.locator('[data-trouble=revoked]')).toBeVisible()
  await ada.keyboard.press('Escape')

  await watcher.reload()
  await expect(watcher.locator('[data-trouble=revoked]')).toBeVisible()
  await draw(bob, [
    [300, 300],
    [400, 300],
  ])
  await elements(ada, 1)
})

test('a board without its link is private, and a board that is not there is missing', async ({ somebody }) => {
  const [ada, stranger] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await stranger.goto(address.replace(/#.*/, ''))
  await expect(stranger.locator('.trouble')).toBeVisible()
  await stranger.goto('/b/00000000-0000-4000-8000-000000000000')
  await expect(stranger.locator('[data-trouble=missing]')).toBeVisible()
  await stranger.getByRole('link', { name: 'To the start' }).click()
  await expect(stranger.getByRole('button', { name: 'New board' })).toBeVisible()
})

test('a guest finds the way back to their own board as its owner', async ({ somebody }) => {
  const ada = await somebody()
  await newBoard(ada)
  await ada.getByRole('button', { name: 'Untitled' }).click()
  await ada.getByLabel('Title of the board').fill('Summer house')
  await ada.keyboard.press('Enter')
  await expect(ada).toHaveTitle(/Summer house/)
  await ada.goto('/')
  await ada.getByRole('link', { name: /Summer house/ }).click()
  await saved(ada)
  await expect(ada.getByRole('heading', { name: 'Summer house' }).getByRole('button')).toBeVisible()
})
