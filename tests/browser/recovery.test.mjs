// SPDX-License-Identifier: MIT
// kill -9 under the page's feet: it says so in words, comes back by itself, and nothing that was acknowledged is missing or double.
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { clean, enter, launch, online, person, player, playing, say, shows, texts } from './browser.mjs'
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

const connection = (page, state) => page.waitForFunction((wanted) => window.__watchroom.chat().connection === wanted, state)

test('killed and started again: the page is back with everything', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'demo')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'demo')
  await playing(ann)
  for (let i = 1; i <= 10; i += 1) await say(ann, `before ${i}`)
  await shows(bob, 'before 10')
  await ann.waitForFunction(() => window.__watchroom.chat().pending.length === 0)
  const { epoch } = await ann.evaluate(() => window.__watchroom.chat())

  await server.kill()
  await connection(ann, 'reconnecting')
  await ann.getByText('The connection is cut.').waitFor()
  await ann.waitForFunction(() => window.__watchroom.player().state === 'down')
  await ann.getByText('The picture is interrupted').waitFor()
  await say(ann, 'written while it was away')
  await ann.locator('.pending-waiting', { hasText: 'written while it was away' }).waitFor()

  await server.run()
  await Promise.all([online(ann, 20_000), online(bob, 20_000)])
  await shows(bob, 'written while it was away')
  await shows(ann, 'written while it was away')
  const wanted = [...Array.from({ length: 10 }, (_, i) => `before ${i + 1}`), 'written while it was away']
  assert.deepEqual(await texts(ann), wanted)
  assert.deepEqual(await texts(bob), wanted)
  const state = await ann.evaluate(() => window.__watchroom.chat())
  assert.equal(state.epoch, epoch)
  assert.equal(state.notRecovered, 0)
  assert.ok(state.recovered >= 1)
  assert.equal(await ann.locator('.banner').isVisible(), false)

  const { frames } = await player(ann)
  await playing(ann, frames + 10, 30_000)
  assert.equal(await ann.getByText('The picture is interrupted').isVisible(), false)
  const fresh = await enter(await person(browser), server, 'demo')
  assert.deepEqual(await texts(fresh), wanted)
  clean(ann, bob, fresh)
})

test('killed three times while messages flow: none is lost, none is double', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'storm')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'storm')
  await ann.evaluate(() => {
    let n = 0
    const box = document.querySelector('.composer-box')
    window.storm = setInterval(() => {
      n += 1
      box.value = `storm ${n}`
      box.form.requestSubmit()
      if (n === 150) clearInterval(window.storm)
    }, 40)
  })
  for (let round = 1; round <= 3; round += 1) {
    await bob.waitForFunction((count) => window.__watchroom.chat().entries.length >= count, round * 10, { timeout: 30_000 })
    await server.kill()
    await connection(bob, 'reconnecting')
    await server.run()
    await online(bob, 20_000)
  }
  await shows(bob, /^storm 150$/, 60_000)
  await ann.waitForFunction(() => window.__watchroom.chat().pending.length === 0, null, { timeout: 30_000 })
  const wanted = Array.from({ length: 150 }, (_, i) => `storm ${i + 1}`)
  assert.deepEqual(await texts(bob), wanted)
  assert.deepEqual(await texts(ann), wanted)
  // The log itself, as a newcomer and as another client would read it.
  const fresh = await enter(await person(browser), server, 'storm')
  assert.deepEqual(await texts(fresh), wanted.slice(-(await texts(fresh)).length))
  clean(ann, bob)
})

test('written while the server was away, then reloaded: it is still sent, once', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'reloaded')
  await server.kill()
  await connection(ann, 'reconnecting')
  await say(ann, 'do not lose me')
  await ann.locator('.pending-waiting').waitFor()
  await server.run()
  await ann.reload()
  await online(ann)
  await shows(ann, 'do not lose me')
  assert.deepEqual(await texts(ann), ['do not lose me'])
})

test('another log was put in the place of the old one: the page shows that one, and goes on with it', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'anew')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'anew')
  for (const text of ['old one', 'old two', 'old three']) await say(ann, text)
  await shows(bob, 'old three')
  await server.kill('SIGTERM')
  rmSync(join(server.folder, 'data', 'hub'), { recursive: true })
  await server.run()
  await Promise.all([online(ann, 20_000), online(bob, 20_000)])
  await say(ann, 'new one')
  await shows(bob, 'new one')
  await shows(ann, 'new one')
  for (const page of [ann, bob]) assert.deepEqual(await texts(page), ['new one'])
  clean(ann, bob)
})
