/** The server goes away in the middle of things, and comes back. */

import { draw, elements, expect, newBoard, openBoard, saved, test } from './studio'

test('what is drawn while the server is away is counted, kept, and saved when it is back', async ({
  server,
  somebody,
}) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)
  await draw(ada, [
    [200, 200],
    [300, 260],
  ])
  await saved(ada)
  await elements(bob, 1)

  await server.kill()
  await expect(ada.locator('.indicator')).toContainText('Offline')
  for (const y of [300, 360, 420]) {
    await draw(ada, [
      [200, y],
      [400, y],
    ])
  }
  await expect(ada.locator('.indicator')).toContainText('Offline · 3 changes')
  await elements(ada, 4)
  await expect(bob.locator('.indicator')).toContainText('Offline')

  await server.run()
  await saved(ada)
  await elements(ada, 4)
  await elements(bob, 4)
  const newcomer = await somebody()
  await openBoard(newcomer, address)
  await elements(newcomer, 4)
})

test('what was drawn offline is delivered although one has gone home meanwhile', async ({ server, somebody }) => {
  const ada = await somebody()
  const address = await newBoard(ada)
  await server.kill()
  await expect(ada.locator('.indicator')).toContainText('Offline')
  await draw(ada, [
    [200, 200],
    [300, 260],
  ])
  await expect(ada.locator('.indicator')).toContainText('1 change')
  await ada.getByRole('link', { name: 'Enfilade, all boards' }).click()
  await expect(ada.getByRole('button', { name: 'New board' })).toBeVisible()

  await server.run()
  const bob = await somebody()
  await openBoard(bob, address)
  await elements(bob, 1)
})

test('leaving with unsaved changes warns', async ({ server, somebody }) => {
  const ada = await somebody()
  await newBoard(ada)
  await server.kill()
  await expect(ada.locator('.indicator')).toContainText('Offline')
  await draw(ada, [
    [200, 200],
    [300, 260],
  ])
  await expect(ada.locator('.indicator')).toContainText('1 change')
  const warned = ada.waitForEvent('dialog')
  await ada.close({ runBeforeUnload: true })
  const dialog = await warned
  expect(dialog.type()).toBe('beforeunload')
  await dialog.accept()
})

test('changes outlive the tab that made them', async ({ server, somebody }) => {
  const ada = await somebody()
  const address = await newBoard(ada)
  await server.kill()
  await expect(ada.locator('.indicator')).toContainText('Offline')
  await draw(ada, [
    [200, 200],
    [300, 260],
  ])
  await expect(ada.locator('.indicator')).toContainText('1 change')
  await expect.poll(() => ada.evaluate(storedOps)).toBe(1)
  const context = ada.context()
  await ada.close()

  await server.run()
  const again = await context.newPage()
  await openBoard(again, address)
  await elements(again, 1)
  await saved(again)
})

/** How many ops wait in the browser's database. */
async function storedOps(): Promise<number> {
  const open = indexedDB.open('enfilade')
  const database = await new Promise<IDBDatabase>((resolve, reject) => {
    open.onsuccess = () => resolve(open.result)
    open.onerror = () => reject(open.error)
  })
  const count = database.transaction('ops').objectStore('ops').count()
  return new Promise((resolve, reject) => {
    count.onsuccess = () => resolve(count.result)
    count.onerror = () => reject(count.error)
  }).finally(() => database.close()) as Promise<number>
}
