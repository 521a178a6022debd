// SPDX-License-Identifier: MIT
// Two people in a room: they talk, see each other, find the history, and change their names.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { clean, enter, launch, NARROW, open, person, say, sayMany, shows, texts } from './browser.mjs'
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
  await sayMany(ann, 'n', 130)
  const late = await enter(await person(browser), server, 'long')
  assert.equal((await texts(late))[0], 'n31')
  await late.getByRole('button', { name: 'Earlier messages' }).dispatchEvent('click') // as by the keyboard: to scroll there would load by itself
  await late.waitForFunction(() => window.__watchroom.chat().entries.length === 130)
  assert.equal((await texts(late))[0], 'n1')
  await late.getByRole('button', { name: 'Earlier messages' }).waitFor({ state: 'hidden' })
})

test('who scrolls up gets the earlier pages without asking, in order, one line each, and stays where he reads', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'endless')
  await sayMany(ann, 'e', 350)
  const late = await enter(await person(browser), server, 'endless')
  const reading = () => late.evaluate(() => {
    const log = document.querySelector('.log-scroll')
    const line = [...log.querySelectorAll('.line')].find((one) => one.getBoundingClientRect().top >= log.getBoundingClientRect().top)
    return line.querySelector('.line-text').textContent
  })
  await late.evaluate(() => { document.querySelector('.log-scroll').scrollTop = 300 })
  await late.waitForFunction(() => window.__watchroom.chat().entries.length === 200)
  const before = await reading()
  assert.ok(Number(before.slice(1)) > 240, before)
  for (const many of [300, 350]) {
    await late.evaluate(() => { document.querySelector('.log-scroll').scrollTop = 100 })
    await late.waitForFunction((n) => window.__watchroom.chat().entries.length === n, many)
  }
  const shown = await late.locator('.log-list:not(.log-pending) .line-text').allTextContents()
  assert.deepEqual(shown, Array.from({ length: 350 }, (_, i) => `e${i + 1}`))
  assert.equal(await late.locator('.log-list .day').count(), 1)
  assert.equal(await late.locator('.log-list .line.first').count(), 1)
  clean(ann, late)
})

test('an own message goes to the end of the log, wherever it was read; others count in the title', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'title')
  await sayMany(ann, 't', 60)
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'title')
  await bob.evaluate(() => { document.querySelector('.log-scroll').scrollTop = 0 })
  await bob.waitForFunction(() => document.querySelector('.log-scroll').scrollTop < 10)
  await say(ann, 'one more')
  await bob.waitForFunction(() => document.title.startsWith('(1) '))
  await bob.getByRole('button', { name: '1 new message' }).waitFor()
  await say(bob, 'mine')
  await shows(bob, 'mine')
  await bob.waitForFunction(() => {
    const log = document.querySelector('.log-scroll')
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2 && !document.title.startsWith('(')
  })
  clean(ann, bob)
})

test('a very long message folds, and opens', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'fold')
  await say(ann, Array.from({ length: 60 }, (_, i) => `line ${i}`).join('\n'))
  const text = ann.locator('.line-text.folded')
  await text.waitFor()
  const height = () => ann.locator('.log-list .line-text').first().evaluate((one) => one.offsetHeight)
  const folded = await height()
  await ann.getByRole('button', { name: 'Show all of it' }).click()
  assert.ok((await height()) > 4 * folded)
  await ann.getByRole('button', { name: 'Show less' }).click()
  assert.equal(await height(), folded)
})

test('right-to-left text runs from the right', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'rtl')
  await say(ann, 'שלום לכולם')
  await shows(ann, 'שלום')
  assert.equal(await ann.locator('.log-list .line-text').first().evaluate((one) => getComputedStyle(one).direction), 'rtl')
})

test('a page that stays open keeps the newest lines and every file, and finds the rest again', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'days')
  await ann.locator('#file-picker').setInputFiles({ name: 'first.txt', mimeType: 'text/plain', buffer: Buffer.from('first') })
  await ann.locator('.file', { hasText: 'first.txt' }).waitFor()
  await sayMany(ann, 'd', 640)
  await ann.waitForFunction(() => window.__watchroom.chat().entries.length === 600)
  assert.ok((await ann.locator('.log-list:not(.log-pending) .line').count()) <= 600)
  assert.equal(await ann.locator('.file', { hasText: 'first.txt' }).count(), 1)
  await ann.getByRole('button', { name: 'Earlier messages' }).dispatchEvent('click') // as by the keyboard: to scroll there would load by itself
  await ann.waitForFunction(() => window.__watchroom.chat().entries.length === 641)
  assert.equal(await ann.locator('.file').count(), 1)

  const late = await enter(await person(browser), server, 'days')
  assert.equal(await late.locator('.file').count(), 0)
  await late.getByRole('button', { name: 'Look for earlier files' }).click()
  await late.locator('.file', { hasText: 'first.txt' }).waitFor()
  await late.getByRole('button', { name: 'Look for earlier files' }).waitFor({ state: 'hidden' })
  assert.equal((await texts(late)).length, 100)
  clean(ann, late)
})

/** Answers the page's requests for history itself while `on`: with an error. */
async function withoutHistory(context) {
  const away = { on: true }
  await context.routeWebSocket(/\/connection\/websocket/, (client) => {
    const upstream = client.connectToServer()
    client.onMessage((frame) => {
      for (const line of String(frame).split('\n')) {
        const { id, history } = line ? JSON.parse(line) : {}
        if (history && away.on) client.send(JSON.stringify({ id, error: { code: 100, message: 'the log is away' } }))
        else upstream.send(line)
      }
    })
  })
  return away
}

test('a history that cannot be read is said so, and read when asked again', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'unread')
  await sayMany(ann, 'u', 130)
  const context = await person(browser)
  const history = await withoutHistory(context)
  const late = await enter(context, server, 'unread')
  await late.getByText('Earlier messages could not be read: the log is away.').waitFor()
  await say(ann, 'meanwhile')
  await shows(late, 'meanwhile')
  history.on = false
  await late.getByRole('button', { name: 'Try again' }).click()
  await late.waitForFunction(() => window.__watchroom.chat().entries.length === 101)
  await late.getByText('could not be read').waitFor({ state: 'hidden' })

  history.on = true
  await late.getByRole('button', { name: 'Earlier messages' }).dispatchEvent('click') // as by the keyboard: to scroll there would load by itself
  await late.getByText('Earlier messages could not be read: the log is away.').waitFor()
  history.on = false
  await late.getByRole('button', { name: 'Try again' }).click()
  await late.waitForFunction(() => window.__watchroom.chat().entries.length === 131)
  assert.equal((await texts(late))[0], 'u1')
  clean(ann, late)
})

test('the newest line stays in sight when a picture above it is fetched late', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'preview')
  let release
  const held = new Promise((resolve) => (release = resolve))
  await ann.route(/\/files\/[^/]+$/, async (route) => {
    if (route.request().resourceType() === 'image') await held
    await route.continue()
  })
  const png = await ann.evaluate(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 400, height: 800 })
    return canvas.toDataURL('image/png').split(',')[1]
  })
  await sayMany(ann, 'p', 30)
  await ann.locator('#file-picker').setInputFiles({ name: 'tall.png', mimeType: 'image/png', buffer: Buffer.from(png, 'base64') })
  await ann.locator('.file-preview').waitFor({ state: 'attached' })
  await say(ann, 'the newest')
  await shows(ann, 'the newest')
  release()
  await ann.waitForFunction(() => document.querySelector('.file-preview').naturalHeight === 800 && document.querySelector('.file-preview').offsetHeight > 50)
  await ann.waitForFunction(() => {
    const log = document.querySelector('.log-scroll')
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2
  }, null, { timeout: 5000 })
  clean(ann)
})

test('who is here is read again when the page comes into sight', async () => {
  const page = await (await person(browser)).newPage()
  const [socket] = await Promise.all([page.waitForEvent('websocket'), page.goto(`${server.url}/room/sight`)])
  await page.waitForFunction(() => window.__watchroom?.chat()?.members === 1)
  const asked = socket.waitForEvent('framesent', { predicate: ({ payload }) => String(payload).includes('"presence"'), timeout: 5000 })
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
  await asked
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
  const door = lobby.getByLabel('Name of a room to enter')
  for (const [name, fault] of [['a/b', /no \/ and no/], ['a\\b', /no \/ and no/], ['.x', /full stop/], ['中'.repeat(90), /too long/]]) {
    await door.fill(name)
    await door.press('Enter')
    assert.match(await door.evaluate((input) => input.validationMessage), fault)
    assert.equal(new URL(lobby.url()).pathname, '/')
  }
  await door.fill('LIST')
  await lobby.waitForFunction(() => [...document.querySelectorAll('.room-card')].filter((one) => !one.hidden).length === 1)
  await door.fill('brand new')
  await lobby.getByText('No room here has “brand new” in its name.').waitFor()
  await lobby.getByRole('button', { name: 'Enter' }).click()
  await lobby.waitForURL(/\/room\/brand%20new$/)
  assert.equal(await lobby.getByRole('heading', { level: 1 }).textContent(), 'brand new')
  clean(ann, lobby)
})
