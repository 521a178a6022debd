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
  await ann.getByText('The upload stopped: the file is too big: at most 20000000 bytes are taken.', { exact: true }).waitFor()
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

test('three go up at a time, the others wait and say so; the page stays quick meanwhile', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'queue')
  const fast = await slow(ann, 400_000)
  const many = Array.from({ length: 30 }, (_, i) => ({ name: `part ${i}.bin`, mimeType: 'application/octet-stream', buffer: randomBytes(200_000) }))
  await ann.locator('#file-picker').setInputFiles(many)
  await ann.waitForFunction(() => window.__watchroom.uploads().filter(({ state }) => state === 'sending').length > 0)
  const states = (await uploads(ann)).map(({ state }) => state)
  assert.ok(states.filter((state) => state !== 'queued' && state !== 'done').length <= 3, states.join())
  await ann.getByText('Waits for its turn').first().waitFor()
  await ann.getByText(/more wait/).waitFor()
  await fast()
  await ann.waitForFunction(() => document.querySelectorAll('.file').length === 30, null, { timeout: 60_000 })
  clean(ann)
})

test('a dropped folder goes up with all that is in it', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'folder')
  await ann.evaluate(() => {
    const one = (name) => ({ isFile: true, isDirectory: false, file: (done) => done(new File([name], name, { type: 'text/plain' })) })
    const dir = (...inside) => ({ isFile: false, isDirectory: true, createReader: () => { const batches = [inside.slice(0, 1), inside.slice(1), []]; return { readEntries: (done) => done(batches.shift()) } } })
    const folder = dir(one('a.txt'), dir(one('b.txt'), one('c.txt')), one('d.txt'))
    const event = new DragEvent('drop', { bubbles: true, cancelable: true })
    Object.defineProperty(event, 'dataTransfer', { value: { types: ['Files'], files: [], items: [{ kind: 'file', webkitGetAsEntry: () => folder }] } })
    document.querySelector('.stage').dispatchEvent(event)
  })
  for (const name of ['a.txt', 'b.txt', 'c.txt', 'd.txt']) await listed(ann, name)
  clean(ann)
})

test('a proxy that takes only small pieces gets small pieces', async () => {
  const big = file('in pieces.bin', 3 * MB)
  const context = await person(browser, { name: 'Ann' })
  const sizes = []
  await context.route('**/files/*', async (route) => {
    const request = route.request()
    const bytes = request.method() === 'PATCH' ? (request.postDataBuffer()?.length ?? 0) : 0
    if (bytes) sizes.push(bytes)
    if (bytes > 500_000) await route.fulfill({ status: 413, contentType: 'text/html', body: '<h1>413 Request Entity Too Large</h1>' })
    else await route.continue()
  })
  const ann = await enter(context, server, 'pieces')
  await ann.locator('#file-picker').setInputFiles(big.path)
  await downloads(await listed(ann, big.name), big)
  assert.ok(sizes[0] > 500_000 && sizes.at(-1) <= 500_000, sizes.join())
})

test('a picture opens large and closes; a pasted one goes up under a name of its own', async () => {
  const ann = await enter(await person(browser, { name: 'Ann' }), server, 'paste')
  await ann.evaluate(async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 900, height: 600 })
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'))
    const data = new DataTransfer()
    data.items.add(new File([blob], 'image.png', { type: 'image/png' }))
    document.querySelector('#composer').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
  })
  await listed(ann, 'Pasted ')
  await ann.locator('.file-preview-button').click()
  const large = ann.getByRole('dialog', { name: /^Picture Pasted/ })
  await large.waitFor()
  await ann.waitForFunction(() => document.querySelector('.lightbox img').naturalWidth === 900)
  await ann.keyboard.press('Escape')
  await large.waitFor({ state: 'detached' })
  clean(ann)
})

test('a long file name stays inside its chip', async () => {
  const ann = await enter(await person(browser, { name: 'Ann', viewport: NARROW }), server, 'chip')
  await ann.locator('#file-picker').setInputFiles({ name: `${'long-name-'.repeat(18)}.txt`, mimeType: 'text/plain', buffer: Buffer.from('x') })
  const chip = ann.locator('.file-chip')
  await chip.waitFor()
  assert.ok(await chip.evaluate((one) => one.getBoundingClientRect().right <= one.closest('.line-body').getBoundingClientRect().right + 1))
  assert.ok(await ann.evaluate(() => document.querySelector('.log-scroll').scrollWidth <= document.querySelector('.log-scroll').clientWidth))
})

test('on a narrow screen who shares a file stays in the chat, and sees it go up', async () => {
  const ann = await enter(await person(browser, { name: 'Ann', viewport: NARROW }), server, 'narrow')
  await slow(ann, MB)
  const [chooser] = await Promise.all([ann.waitForEvent('filechooser'), ann.getByRole('button', { name: 'Share a file' }).click()])
  await chooser.setFiles(file('from a phone.bin', 3 * MB).path)
  const summary = ann.getByRole('button', { name: /1 file on the way/ })
  await summary.waitFor()
  assert.equal(await ann.getByRole('tab', { name: 'Chat' }).getAttribute('aria-selected'), 'true')
  await summary.click()
  await ann.getByRole('progressbar', { name: 'from a phone.bin' }).waitFor()
  assert.equal(await ann.getByRole('tab', { name: 'Files' }).getAttribute('aria-selected'), 'true')
})
