// SPDX-License-Identifier: MIT
// The well-known small chat page, which knows nothing of Watchroom, in one room with our page.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { enter, launch, person, say, shows } from './browser.mjs'
import { Server } from './server.mjs'

const HTML = readFileSync(new URL('gorilla.html', import.meta.url), 'utf8')
let server
let browser
before(async () => {
  server = await Server.start()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

/** The page as if the server served it, in place of ours: such a page only ever talks to its own origin. */
async function classic(query = '') {
  const page = await (await person(browser, { bypassCSP: true })).newPage()
  const host = new URL(server.url).host
  await page.goto(server.url)
  await page.setContent(HTML.replace('HOST', JSON.stringify(host)).replace('QUERY', JSON.stringify(query)))
  await page.waitForFunction(() => conn.readyState === WebSocket.OPEN)
  return page
}

async function type(page, text) {
  await page.fill('#msg', text)
  await page.keyboard.press('Enter')
}

const lines = (page) => page.locator('#log div').allTextContents()
const has = (page, text) => page.locator('#log div', { hasText: text }).first().waitFor()

test('two classic pages talk in the lobby; each gets its own line back', async () => {
  const one = await classic()
  const two = await classic()
  await type(one, 'first')
  await has(two, 'first')
  await type(two, 'second')
  await has(one, 'second')
  assert.deepEqual(await lines(one), ['first', 'second'])
  assert.deepEqual(await lines(two), ['first', 'second'])
})

test('a classic page and our page share a room', async () => {
  const old = await classic('?room=shared')
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'shared')
  await type(old, 'plain text, no name')
  await shows(ann, 'plain text, no name')
  await say(ann, 'hello old friend')
  await has(old, 'hello old friend')
  assert.deepEqual(await lines(old), ['plain text, no name', 'Ann: hello old friend'])
})

test('the classic page hears that the server ends', async () => {
  const old = await classic()
  await server.kill('SIGTERM')
  await has(old, 'Connection closed.')
})
