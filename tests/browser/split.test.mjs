// SPDX-License-Identifier: MIT
// The page against four processes (--split): all of it works, and goes on by itself when one of them dies.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { clean, enter, launch, online, person, player, playing, say, shows, texts } from './browser.mjs'
import { Server } from './server.mjs'

let server
let browser
before(async () => {
  server = await Server.start({ split: true })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

async function shares(page, other, name, words) {
  await page.locator('#file-picker').setInputFiles({ name, mimeType: 'text/plain', buffer: Buffer.from(words) })
  const link = other.locator('.file', { hasText: name }).locator('a.file-name')
  await link.waitFor({ timeout: 30_000 })
  assert.equal(await (await fetch(new URL(await link.getAttribute('href'), server.url))).text(), words)
}

test('talk, picture and file', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'demo')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'demo')
  await playing(ann, 25)
  await playing(bob, 25)
  await say(ann, 'over four processes')
  await shows(bob, 'over four processes')
  await shares(bob, ann, 'split.txt', 'through two of them')
  clean(ann, bob)
  await ann.context().close()
  await bob.context().close()
})

for (const service of ['hub', 'filestore', 'ingest', 'gateway']) {
  test(`kill -9 of the ${service}: talk, picture and file go on without a reload`, async () => {
    const ann = await enter(await person(browser, { name: 'Ann' }), server, 'demo')
    const bob = await enter(await person(browser, { name: 'Bob' }), server, 'demo')
    await playing(ann, 25)
    await say(ann, `before ${service}`)
    await shows(bob, `before ${service}`)
    const { frames } = await player(ann)
    server.killService(service)
    await say(ann, `after ${service}`)
    await shows(bob, `after ${service}`, 30_000)
    await shares(bob, ann, `${service}.txt`, `sent after the death of ${service}`)
    await playing(ann, frames + 50, 30_000)
    await online(ann)
    const said = await texts(bob)
    for (const when of ['before', 'after']) assert.equal(said.filter((text) => text === `${when} ${service}`).length, 1)
    clean(ann, bob)
    await ann.context().close()
    await bob.context().close()
  })
}
