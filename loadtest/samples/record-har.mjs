// Records how three people draw on a board, as HAR files: two pages of one browser (`two-pages.har`) and one of another
// (`another.har`). Meanwhile the node dies and comes back, so that all of them reconnect and one op is sent once more.
// Only the WebSockets are kept of what the browsers wrote.
//
//   node loadtest/samples/record-har.mjs target/debug/enfilade loadtest/samples
//
// needs Playwright (`npm ci` in `web/`) and a Chromium ($CHROMIUM).

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

const { chromium, expect } = createRequire(new URL('../../web/app/package.json', import.meta.url))('@playwright/test')

const [binary = 'target/debug/enfilade', folder = '.'] = process.argv.slice(2)
const [port, adminPort] = [18471, 18472]
const origin = `http://127.0.0.1:${port}`
const data = await mkdtemp(join(tmpdir(), 'enfilade-har-'))

async function startNode() {
  const listen = ['--listen', `127.0.0.1:${port}`, '--admin-listen', `127.0.0.1:${adminPort}`]
  const node = spawn(binary, ['serve', ...listen, '--data-dir', data], { stdio: 'ignore' })
  const ready = () => fetch(`http://127.0.0.1:${adminPort}/readyz`).then(({ ok }) => ok, () => false)
  while (!(await ready())) await setTimeout(20)
  return node
}

async function kill(node) {
  node.kill('SIGKILL')
  await once(node, 'exit')
}

let node = await startNode()
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
})

async function visitor(har) {
  const path = join(folder, har)
  const options = { baseURL: origin, reducedMotion: 'reduce', viewport: { width: 1200, height: 800 } }
  return { path, context: await browser.newContext({ ...options, recordHar: { path, content: 'embed' } }) }
}

const saved = (page) => expect(page.locator('.indicator')).toContainText('Saved')
const elements = (page, count) => expect(page.locator('.surface')).toHaveAttribute('data-elements', String(count))

async function draw(page, way) {
  const [first, ...rest] = way
  await page.mouse.move(...first)
  await page.mouse.down()
  for (const point of rest) await page.mouse.move(...point, { steps: 8 })
  await page.mouse.up()
}

const [two, one] = [await visitor('two-pages.har'), await visitor('another.har')]
const [ada, bob] = [await two.context.newPage(), await two.context.newPage()]
await ada.goto('/')
await ada.getByRole('button', { name: 'New board' }).click()
await saved(ada)
await ada.keyboard.press('p')
await draw(ada, [[300, 300], [420, 260], [540, 340]])
await elements(ada, 1)

await bob.goto(ada.url())
await elements(bob, 1)
await draw(bob, [[600, 500], [700, 560]])
await elements(ada, 2)
await bob.getByRole('button', { name: 'Undo' }).click()
await elements(ada, 1)
await bob.getByRole('button', { name: 'Redo' }).click()
await elements(ada, 2)

const cy = await one.context.newPage()
await cy.goto(ada.url())
await elements(cy, 2)
await draw(cy, [[200, 600], [260, 640], [320, 600]])
await elements(ada, 3)

// What Ada draws while the node is away is sent when it is back.
await kill(node)
await draw(ada, [[800, 200], [860, 320]])
node = await startNode()
await elements(cy, 4)
await elements(bob, 4)
await saved(ada)

for (const { context, path } of [two, one]) {
  await context.close()
  const har = JSON.parse(await readFile(path, 'utf8'))
  const entries = har.log.entries
    .filter((entry) => entry._webSocketMessages)
    .map(({ startedDateTime, _resourceType, _webSocketMessages, request: { method, url } }) => ({
      startedDateTime,
      _resourceType,
      request: { method, url },
      _webSocketMessages,
    }))
  const { version, creator } = har.log
  await rm(path)
  await writeFile(path, `${JSON.stringify({ log: { version, creator, entries } })}\n`)
}
await browser.close()
await kill(node)
await rm(data, { recursive: true })
