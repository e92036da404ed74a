/** Two people on two nodes of a cluster, of which one leaves: once politely, once without a word. */

import { draw, elements, expect, newBoard, openBoard, type Page, saved, test } from './studio'

/** Writes down whatever the indicator says from now on. */
async function watchIndicator(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const label = document.querySelector('.indicator-label')!
    const said: string[] = []
    Object.assign(window, { said })
    new MutationObserver(() => said.push(label.textContent ?? '')).observe(label, {
      childList: true,
      characterData: true,
      subtree: true,
    })
  })
  return () => page.evaluate(() => (window as unknown as { said: string[] }).said)
}

/** The same board by another door. */
const through = (address: string, other: string): string => {
  const { pathname, hash } = new URL(address)
  return new URL(pathname + hash, other).href
}

test('a node is drained while two people draw, and the drawing goes on', async ({ cluster, somebodyAt }) => {
  const [leaving, steady] = cluster.nodes
  const [ada, bob] = [await somebodyAt([leaving!, steady!]), await somebodyAt([steady!])]
  const address = await newBoard(ada)
  await bob.goto('/')
  await openBoard(bob, through(address, bob.url()))
  await saved(ada)
  const said = [await watchIndicator(ada), await watchIndicator(bob)]
  const sockets: boolean[] = []
  ada.on('websocket', (socket) => {
    const place = sockets.push(false) - 1
    socket.on('framereceived', () => (sockets[place] = true))
  })

  await leaving!.drain()
  let strokes = 0
  const both = async (): Promise<void> => {
    const y = 150 + 12 * strokes
    await draw(ada, [
      [300, y],
      [500, y + 6],
    ])
    await draw(bob, [
      [600, y],
      [800, y + 6],
    ])
    strokes += 2
    for (const page of [ada, bob]) await elements(page, strokes)
  }
  while (strokes < 40 && !sockets[0]) await both()
  expect(sockets).toEqual([true])
  await leaving!.terminate()
  await both()

  for (const page of [ada, bob]) await saved(page)
  for (const labels of said) expect(new Set(await labels())).toEqual(new Set(['Saving…', 'Saved']))
})

test('a node dies, and its people are told calmly that work is kept until they are back', async ({ cluster, somebodyAt }) => {
  const [dying, steady] = cluster.nodes
  const [ada, bob] = [await somebodyAt([dying!, steady!]), await somebodyAt([steady!])]
  const address = await newBoard(ada)
  await bob.goto('/')
  await openBoard(bob, through(address, bob.url()))
  const said = await watchIndicator(ada)

  await dying!.kill()
  await draw(ada, [
    [300, 300],
    [500, 320],
  ])
  await draw(bob, [
    [300, 400],
    [500, 420],
  ])
  for (const page of [ada, bob]) await elements(page, 2)
  for (const page of [ada, bob]) await saved(page)
  const labels = await said()
  expect(labels).toContain('Reconnecting…')
  expect(labels.filter((label) => label.startsWith('Offline'))).toEqual([])
})
