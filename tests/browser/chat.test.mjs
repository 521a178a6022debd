// SPDX-License-Identifier: MIT
// Two people in a room: they talk, see each other, find the history, and change their names.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { clean, enter, launch, NARROW, open, person, say, shows, texts } from './browser.mjs'
import { Server } from './server.mjs'

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

test('two people talk', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'talk')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'talk')
  await say(ann, 'hello from Ann')
  await shows(bob, 'hello from Ann')
  await say(bob, 'hello from Bob')
  await shows(ann, 'hello from Bob')
  assert.equal(await bob.locator('.line', { hasText: 'hello from Ann' }).locator('.line-head b').textContent(), 'Ann')
  assert.deepEqual(await texts(ann), await texts(bob))
  assert.equal(await ann.locator('.pending').count(), 0)
  clean(ann, bob)
})

test('the sender’s line stands once, with a time of today', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'once')
  await say(ann, 'just once')
  await shows(ann, 'just once')
  await say(ann, 'and another')
  await shows(ann, 'and another')
  assert.deepEqual(await texts(ann), ['just once', 'and another'])
  const stamp = await ann.locator('.line time').first().getAttribute('datetime')
  assert.ok(Math.abs(Date.parse(stamp) - Date.now()) < 60_000, stamp)
})

test('who joins later finds what was said, with the times at which it was said', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'later')
  for (let i = 1; i <= 5; i += 1) await say(ann, `line ${i}`)
  await shows(ann, 'line 5')
  const stamp = await ann.locator('.line time').first().getAttribute('datetime')
  const late = await enter(await person(browser), server, 'later')
  await shows(late, 'line 5')
  assert.deepEqual(await texts(late), [1, 2, 3, 4, 5].map((i) => `line ${i}`))
  assert.equal(await late.locator('.line time').first().getAttribute('datetime'), stamp)
  clean(ann, late)
})

test('earlier pages of a long history come on demand', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'long')
  await ann.evaluate(() => {
    const box = document.querySelector('.composer-box')
    for (let i = 1; i <= 130; i += 1) {
      box.value = `n${i}`
      box.form.requestSubmit()
    }
  })
  await shows(ann, 'n130', 30_000)
  const late = await enter(await person(browser), server, 'long')
  assert.equal((await texts(late))[0], 'n31')
  await late.getByRole('button', { name: 'Earlier messages' }).click()
  await late.waitForFunction(() => window.__watchroom.chat().entries.length === 130)
  assert.equal((await texts(late))[0], 'n1')
  await late.getByRole('button', { name: 'Earlier messages' }).waitFor({ state: 'hidden' })
})

test('the count and the list of people follow who comes and goes', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'people')
  const context = await person(browser, { name: 'Bob' })
  await enter(context, server, 'people')
  await ann.waitForFunction(() => window.__watchroom.chat().members === 2)
  await ann.getByRole('button', { name: '2 people here' }).click()
  assert.deepEqual(await ann.locator('.person-name').allTextContents(), ['Ann', 'Bob'])
  await context.close()
  await ann.waitForFunction(() => window.__watchroom.chat().members === 1)
  assert.deepEqual(await ann.locator('.person-name').allTextContents(), ['Ann'])
})

test('a new name is kept, shown to others, and costs no message', async () => {
  const context = await person(browser)
  const ann = await enter(context, server, 'rename')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'rename')
  await ann.getByRole('button', { name: /^You are/ }).click()
  await ann.getByLabel('Name', { exact: true }).fill('  Anna   Maria ')
  await say(bob, 'while she renames')
  await ann.getByRole('button', { name: 'Save' }).click()
  await bob.waitForFunction(() => window.__watchroom.chat().members === 2)
  await say(ann, 'it is me')
  await shows(bob, 'it is me')
  assert.equal(await bob.locator('.line', { hasText: 'it is me' }).locator('.line-head b').textContent(), 'Anna Maria')
  assert.deepEqual(await texts(ann), ['while she renames', 'it is me'])
  await ann.reload()
  assert.match(await ann.getByRole('button', { name: /^You are/ }).textContent(), /Anna Maria$/)
})

test('what people write is never markup, and only web addresses become links', async () => {
  const ann = await enter(await person(browser, { name: '<b>Ann</b>' }), server, 'markup')
  await say(ann, '<img src=x onerror="document.title=1"><script>document.title=2</script> javascript:alert(1) https://example.org/a?b=1.')
  await shows(ann, '<img src=x')
  assert.equal(await ann.locator('.line img, .line script').count(), 0)
  assert.equal(await ann.locator('.line-head b').first().textContent(), '<b>Ann</b>')
  assert.deepEqual(await ann.locator('.line a').evaluateAll((links) => links.map((link) => link.href)), ['https://example.org/a?b=1'])
  clean(ann)
})

test('Chinese by the browser’s language, English by ?lang=en', async () => {
  const context = await person(browser, { lang: 'zh-CN' })
  const page = await enter(context, server, 'words')
  assert.equal(await page.getByRole('heading', { name: '聊天' }).count(), 1)
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN')
  await page.goto(`${server.url}/room/words?lang=en`)
  assert.equal(await page.getByRole('heading', { name: 'Chat' }).count(), 1)
})

test('a room by another name than ASCII works', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, '大厅 一')
  await say(ann, '你好')
  await shows(ann, '你好')
  clean(ann)
})

test('the lobby lists rooms with their people and opens any room by name', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'listed')
  await say(ann, 'x')
  const lobby = await open(await person(browser, { viewport: NARROW }), server.url)
  const card = lobby.getByRole('link', { name: /listed/ })
  await card.waitFor()
  await lobby.waitForFunction(() => [...document.querySelectorAll('.room-card')].some((one) => /listed/.test(one.textContent) && /1 person here/.test(one.textContent)))
  assert.equal(await lobby.getByRole('link', { name: /demo/ }).count(), 1)
  await lobby.getByLabel('Name of a room to enter').fill('brand new')
  await lobby.getByRole('button', { name: 'Enter' }).click()
  await lobby.waitForURL(/\/room\/brand%20new$/)
  assert.equal(await lobby.getByRole('heading', { level: 1 }).textContent(), 'brand new')
  clean(ann, lobby)
})
