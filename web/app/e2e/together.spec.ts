/** Two people, two browsers, one board. */

import {
  draw,
  elements,
  expect,
  INK,
  inkAt,
  moveTo,
  newBoard,
  openBoard,
  penDown,
  saved,
  seesInk,
  test,
} from './studio'

test('two people see each other’s strokes, live and dry', async ({ somebody }) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)

  await ada.keyboard.press('3')
  await penDown(ada, [
    [300, 300],
    [500, 320],
  ])
  await seesInk(ada, 400, 310, INK.red, 'wet')
  // Any piece of a live stroke may be lost on the way: the pen goes on until the other has seen some of it.
  await expect
    .poll(async () => {
      await moveTo(ada, [
        [300, 300],
        [500, 320],
      ])
      return inkAt(bob, 400, 310, INK.red, 'wet')
    })
    .toBe(true)
  await elements(bob, 0)

  await ada.mouse.up()
  await seesInk(bob, 400, 310, INK.red)
  await elements(bob, 1)
  await saved(ada)

  await bob.keyboard.press('7')
  await draw(bob, [
    [700, 200],
    [700, 500],
  ])
  await seesInk(ada, 700, 350, INK.blue)
  await elements(ada, 2)
})

test('two people see each other’s pointers and names', async ({ somebody }) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await ada.getByRole('button', { name: 'Only you are here' }).click()
  await ada.getByRole('button', { name: 'Change my name' }).click()
  await ada.getByRole('textbox', { name: 'Your name' }).fill('Ada Lovelace')
  await ada.getByRole('button', { name: 'That’s me' }).click()
  await saved(ada)
  await openBoard(bob, address)

  const pointer = bob.locator('.cursor', { hasText: 'Ada Lovelace' })
  for (const [x, y] of [
    [640, 420],
    [240, 220],
  ] as const) {
    // A signal may be lost: a hand that stays trembles a little.
    await expect
      .poll(async () => {
        await ada.mouse.move(x - 1, y)
        await ada.mouse.move(x, y)
        return pointer.evaluateAll((shown) => shown.map((each) => Math.round(each.getBoundingClientRect().x)))
      })
      .toEqual([x])
  }

  await bob.getByRole('button', { name: /people are here/ }).click()
  await expect(bob.locator('.people li', { hasText: 'Ada Lovelace' })).toContainText('Owner')
  await expect(bob.locator('.people li', { hasText: 'you' })).toContainText('Draws')
})

test('a newcomer sees what was drawn before, as it lies', async ({ somebody }) => {
  const ada = await somebody()
  const address = await newBoard(ada)
  await draw(ada, [
    [200, 200],
    [900, 600],
  ])
  await draw(ada, [
    [200, 600],
    [900, 200],
  ])
  await saved(ada)
  const bob = await somebody()
  await openBoard(bob, address)
  await elements(bob, 2)
  // What is there is shown in the middle of the page.
  await seesInk(bob, 600, 400, INK.black)
})

test('undo and redo are one’s own', async ({ somebody }) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)
  await draw(ada, [
    [200, 200],
    [300, 200],
  ])
  await elements(bob, 1)
  await draw(bob, [
    [200, 400],
    [300, 400],
  ])
  await elements(ada, 2)

  await expect(ada.getByRole('button', { name: 'Redo' })).toBeDisabled()
  await ada.keyboard.press('Control+z')
  await elements(bob, 1)
  await seesInk(bob, 250, 400, INK.black)
  await expect(ada.getByRole('button', { name: 'Undo' })).toBeDisabled()
  await ada.keyboard.press('Control+Shift+z')
  await elements(bob, 2)
  await seesInk(bob, 250, 200, INK.black)

  await bob.getByRole('button', { name: 'Undo' }).click()
  await elements(ada, 1)
  await seesInk(ada, 250, 200, INK.black)
})

test('the eraser takes whole strokes, and undo brings them back in one step', async ({ somebody }) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)
  for (const x of [300, 400, 500]) {
    await draw(ada, [
      [x, 200],
      [x, 500],
    ])
  }
  await elements(bob, 3)
  await bob.keyboard.press('e')
  await draw(bob, [
    [250, 350],
    [450, 350],
  ])
  await elements(ada, 1)
  await seesInk(ada, 500, 350, INK.black)
  await bob.keyboard.press('Control+z')
  await elements(ada, 3)
  await seesInk(ada, 300, 350, INK.black)
})

test('another title is told to everybody at once', async ({ somebody }) => {
  const [ada, bob] = [await somebody(), await somebody()]
  const address = await newBoard(ada)
  await openBoard(bob, address)
  await ada.getByTitle('Rename this board').click()
  await ada.getByRole('textbox', { name: 'Title of the board' }).fill('Harbour plan')
  await ada.keyboard.press('Enter')
  await expect(bob).toHaveTitle(/Harbour plan/)
})
