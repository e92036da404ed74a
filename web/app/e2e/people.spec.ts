/** Accounts. */

import { draw, elements, expect, newBoard, type Page, saved, test } from './studio'

const WHO = { username: 'ada.l', password: 'correct horse battery', name: 'Ada Lovelace' }

async function signUp(page: Page): Promise<void> {
  await page.goto('/')
  await page.getByRole('button', { name: 'Sign up' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Your name').fill(WHO.name)
  await dialog.getByLabel('User name').fill(WHO.username)
  await dialog.getByLabel('Password').fill(WHO.password)
  await dialog.getByRole('button', { name: 'Create account' }).click()
  await expect(page.getByRole('navigation', { name: 'Account' })).toContainText(WHO.name)
}

async function signIn(page: Page, password: string): Promise<void> {
  await page.getByRole('button', { name: 'Sign in', exact: true }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('User name').fill(WHO.username)
  await dialog.getByLabel('Password').fill(password)
  await dialog.getByRole('button', { name: 'Sign in' }).click()
}

test('sign up, draw, sign out, sign in elsewhere: the board is there', async ({ somebody }) => {
  const ada = await somebody()
  await signUp(ada)
  await ada.getByRole('button', { name: 'New board' }).click()
  await saved(ada)
  await ada.getByRole('button', { name: 'Untitled' }).click()
  await ada.getByLabel('Title of the board').fill('Engine notes')
  await ada.keyboard.press('Enter')
  await draw(ada, [
    [300, 300],
    [500, 400],
  ])
  await saved(ada)
  await ada.getByRole('link', { name: 'Enfilade, all boards' }).click()
  await expect(ada.getByRole('link', { name: /Engine notes/ })).toBeVisible()
  await ada.getByRole('button', { name: 'Sign out' }).click()
  await expect(ada.getByRole('button', { name: 'Sign in' })).toBeVisible()

  const elsewhere = await somebody()
  await elsewhere.goto('/')
  await signIn(elsewhere, 'not the password')
  await expect(elsewhere.getByRole('alert')).toContainText('not right')
  await elsewhere.keyboard.press('Escape')
  await signIn(elsewhere, WHO.password)
  await elsewhere.getByRole('link', { name: /Engine notes/ }).click()
  await elements(elsewhere, 1)
  await saved(elsewhere)
})

test('signing in lasts over a reload', async ({ somebody }) => {
  const ada = await somebody()
  await signUp(ada)
  await ada.reload()
  await expect(ada.getByRole('navigation', { name: 'Account' })).toContainText(WHO.name)
})

test('signing out in one tab closes the board in another', async ({ somebody }) => {
  const ada = await somebody()
  await signUp(ada)
  await ada.getByRole('button', { name: 'New board' }).click()
  await saved(ada)
  const second = await ada.context().newPage()
  await second.goto('/')
  await second.getByRole('button', { name: 'Sign out' }).click()
  await expect(ada.locator('[data-trouble=signed-out]')).toBeVisible()
  await signIn(ada, WHO.password)
  await saved(ada)
})

test('a guest’s board can be kept in the account', async ({ somebody }) => {
  const ada = await somebody()
  await newBoard(ada)
  await signUp(ada)
  await expect(ada.getByText('No boards yet')).toBeVisible()
  await ada.getByRole('button', { name: 'Keep in my account' }).click()
  await expect(ada.locator('.boards', { hasText: 'Your boards' }).getByRole('link')).toHaveCount(1)
  await expect(ada.getByText('Also seen in this browser')).toHaveCount(0)
})

test('a taken user name is said in words', async ({ somebody }) => {
  const [ada, other] = [await somebody(), await somebody()]
  await signUp(ada)
  await other.goto('/')
  await other.getByRole('button', { name: 'Sign up' }).click()
  const dialog = other.getByRole('dialog')
  await dialog.getByLabel('User name').fill(WHO.username)
  await dialog.getByLabel('Password').fill('another fine password')
  await dialog.getByRole('button', { name: 'Create account' }).click()
  await expect(dialog.getByRole('alert')).toContainText('already has that user name')
})

test('a person sees their devices, and signs out of them', async ({ somebody }) => {
  const desk = await somebody()
  await signUp(desk)
  await desk.getByRole('button', { name: 'New board' }).click()
  await saved(desk)
  const phone = await somebody({ viewport: { width: 390, height: 780 }, colorScheme: 'dark' })
  await phone.goto('/')
  await signIn(phone, WHO.password)
  await phone.getByRole('button', { name: 'New board' }).click()
  await saved(phone)

  await phone.getByRole('button', { name: 'Menu' }).click()
  await phone.getByRole('button', { name: 'Your devices' }).click()
  await expect(phone.getByRole('dialog').getByText('Online now')).toHaveCount(2)
  if (process.env['SHOTS']) await phone.screenshot({ path: `${process.env['SHOTS']}/devices-phone.png` })
  await desk.getByRole('button', { name: 'Menu' }).click()
  await desk.getByRole('button', { name: 'Your devices' }).click()
  await expect(desk.getByRole('dialog').getByText('Online now')).toHaveCount(2)
  if (process.env['SHOTS']) await desk.screenshot({ path: `${process.env['SHOTS']}/devices-desk.png` })

  await desk.getByRole('button', { name: /^Sign out on / }).click()
  await expect(phone.locator('[data-trouble=signed-out]')).toBeVisible()
  await expect(desk.getByRole('dialog').getByRole('listitem')).toHaveCount(1)
  await desk.getByRole('button', { name: 'Sign out everywhere' }).click()
  await expect(desk.getByRole('button', { name: 'Sign in' })).toBeVisible()
})
