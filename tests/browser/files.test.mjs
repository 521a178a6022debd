// SPDX-License-Identifier: MIT
// A file goes up with progress, pause and resume; by the button, by dropping it, across a reload and across kill -9.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { clean, enter, launch, NARROW, person } from './browser.mjs'
import { Server } from './server.mjs'

const MB = 1_000_000
let server
let browser
let folder
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'watchroom-files-'))
  server = await Server.start({ config: 'gateway: { max_upload_bytes: 20MB }\n' })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

function file(name, bytes) {
  const content = randomBytes(bytes)
  const path = join(folder, name)
  writeFileSync(path, content)
  return { path, name, content, sha256: createHash('sha256').update(content).digest('hex') }
}

/** An upload line slow enough to see it move. */
async function slow(page, bytesPerSecond) {
  const session = await page.context().newCDPSession(page)
  const set = (rate) => session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: rate })
  await session.send('Network.enable')
  await set(bytesPerSecond)
  return () => set(-1)
}

const uploads = (page) => page.evaluate(() => window.__watchroom.uploads())
const sentOver = (page, bytes) => page.waitForFunction((n) => window.__watchroom.uploads()[0]?.sent > n, bytes, { timeout: 30_000 })

async function listed(page, name, timeout = 60_000) {
  const row = page.locator('.file', { hasText: name })
  await row.waitFor({ timeout })
  return row
}

async function downloads(row, wanted) {
  const link = row.locator('a.file-name')
  const got = Buffer.from(await (await fetch(new URL(await link.getAttribute('href'), server.url))).arrayBuffer())
  assert.ok(got.equals(wanted.content), `${wanted.name} came back different`)
  assert.match(await row.locator('.file-hash').getAttribute('title'), new RegExp(wanted.sha256))
  assert.equal(await row.locator('.file-hash').textContent(), `${wanted.sha256.slice(0, 12)}…`)
}

test('up by the button: progress, pause, resume; everybody gets name, size, hash and link', async () => {
  const big = file('holiday video.mp4', 6 * MB)
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'share')
  const bob = await enter(await person(browser, { name: 'Bob' }), server, 'share')
  const fast = await slow(ann, 1.5 * MB)
  const [chooser] = await Promise.all([ann.waitForEvent('filechooser'), ann.getByRole('button', { name: 'Upload' }).click()])
  await chooser.setFiles(big.path)
  await sentOver(ann, MB)
  const bar = ann.getByRole('progressbar', { name: big.name })
  assert.ok(Number(await bar.getAttribute('value')) > 5)

  await ann.getByRole('button', { name: `Pause ${big.name}` }).click()
  await ann.getByText('Paused. What was sent is kept.').waitFor()
  const [{ sent }] = await uploads(ann)
  await ann.waitForTimeout(700) // a paused upload must not creep on
  assert.equal((await uploads(ann))[0].sent, sent)
  assert.ok(sent < 6 * MB)

  await fast()
  await ann.getByRole('button', { name: `Go on with ${big.name}` }).click()
  await downloads(await listed(ann, big.name), big)
  const row = await listed(bob, big.name)
  await downloads(row, big)
  assert.match(await row.locator('.file-facts').innerText(), /6 MB[\s\S]*Ann/)
  assert.equal(await bob.getByRole('log').locator('.file-chip', { hasText: big.name }).count(), 1)
  clean(ann, bob)
})

test('a dropped file goes up', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'drop')
  await ann.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File(['dropped words'], 'notes.txt', { type: 'text/plain' }))
    for (const type of ['dragenter', 'dragover', 'drop']) document.querySelector('.stage').dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }))
  })
  const row = await listed(ann, 'notes.txt')
  const url = new URL(await row.locator('a.file-name').getAttribute('href'), server.url)
  assert.equal(await (await fetch(url)).text(), 'dropped words')
  assert.match(await row.innerText(), /13 B/)
})

test('an empty file and one with a name of many scripts go up', async () => {
  const empty = file('空 文件 – ñ.txt', 0)
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'names')
  await ann.locator('#file-picker').setInputFiles(empty.path)
  const row = await listed(ann, empty.name)
  assert.match(await row.innerText(), /0 B/)
})

test('after a reload the same file goes on where it stopped', async () => {
  const big = file('resumed.bin', 6 * MB)
  const context = await person(browser, { name: 'Ann' })
  const ann = await enter(context, server, 'reload')
  await slow(ann, 1.5 * MB)
  await ann.locator('#file-picker').setInputFiles(big.path)
  await sentOver(ann, 2 * MB)

  // A second tab of the same browser does not take a running upload for one that was left.
  const second = await enter(context, server, 'reload')
  await second.locator('.uploads[aria-busy=false]').waitFor({ state: 'attached' })
  assert.equal(await second.locator('.upload').count(), 0)
  await second.close()

  await ann.reload()
  await ann.getByText('Not finished at your last visit.').waitFor()
  await ann.locator('#file-picker').setInputFiles(big.path)
  await ann.waitForFunction(() => window.__watchroom.uploads()[0]?.resumedAt > 500_000, null, { timeout: 30_000 })
  assert.equal(await ann.getByText('Not finished at your last visit.').count(), 0)
  await downloads(await listed(ann, big.name), big)
})

test('an upload lives through kill -9 by itself', async () => {
  const big = file('survivor.bin', 8 * MB)
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'killed')
  await slow(ann, 2 * MB)
  await ann.locator('#file-picker').setInputFiles(big.path)
  await sentOver(ann, 2 * MB)
  await server.kill()
  await ann.getByText('The connection is cut. Goes on by itself').waitFor()
  await server.run()
  await downloads(await listed(ann, big.name), big)
  clean(ann)
})

test('a cancelled upload is gone, here and there', async () => {
  const big = file('unwanted.bin', 6 * MB)
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'cancel')
  await slow(ann, MB)
  const created = ann.waitForResponse((response) => response.request().method() === 'POST' && response.status() === 201)
  await ann.locator('#file-picker').setInputFiles(big.path)
  const url = new URL(await (await created).headerValue('location'), server.url)
  await sentOver(ann, 100_000)
  const removed = ann.waitForResponse((response) => response.request().method() === 'DELETE')
  await ann.getByRole('button', { name: `Cancel ${big.name}` }).click()
  assert.equal((await removed).status(), 204)
  assert.deepEqual(await uploads(ann), [])
  assert.equal((await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })).status, 404)
})

test('a file that is refused says why, in the server’s words', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'refused')
  const big = file('too big.bin', 21 * MB)
  await ann.locator('#file-picker').setInputFiles(big.path)
  await ann.getByText('The upload stopped: the file is too big: at most 20000000 bytes are taken.').waitFor()
  assert.equal((await uploads(ann))[0].state, 'failed')
  clean(ann)
})

test('a disk that is full says so while the upload waits, and is no cut connection', async () => {
  const context = await person(browser, { name: 'Ann' })
  await context.route('**/files/', (route) => route.fulfill({ status: 507, contentType: 'application/json', body: '{"error":{"code":507,"message":"the disk is full"}}' }))
  const ann = await enter(context, server, 'full')
  const small = file('small.bin', 1000)
  await ann.locator('#file-picker').setInputFiles(small.path)
  await ann.getByText('The server says: the disk is full. It is tried again by itself.').waitFor()
  await context.unroute('**/files/')
  await downloads(await listed(ann, small.name), small)
})

test('on a narrow screen the files come into sight when one goes up', async () => {
  const ann = await enter(await person(browser, { name: 'Ann', viewport: NARROW }), server, 'narrow')
  await slow(ann, MB)
  const [chooser] = await Promise.all([ann.waitForEvent('filechooser'), ann.getByRole('button', { name: 'Share a file' }).click()])
  await chooser.setFiles(file('from a phone.bin', 3 * MB).path)
  await ann.getByRole('progressbar', { name: 'from a phone.bin' }).waitFor()
  assert.equal(await ann.getByRole('tab', { name: 'Files' }).getAttribute('aria-selected'), 'true')
})
