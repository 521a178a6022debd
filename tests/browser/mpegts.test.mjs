// SPDX-License-Identifier: MIT
// FLV in mpegts.js, as it comes from npm, in a page of another origin: over WebSocket and over HTTP.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { clean, launch, open, person } from './browser.mjs'
import { Server } from './server.mjs'

const PLAYER = readFileSync(createRequire(import.meta.url).resolve('mpegts.js/dist/mpegts.js'))
const HTML = readFileSync(new URL('mpegts.html', import.meta.url))
let server
let site
let browser
before(async () => {
  site = createServer((request, answer) => {
    const script = request.url === '/mpegts.js'
    answer.writeHead(200, { 'Content-Type': script ? 'text/javascript' : 'text/html; charset=utf-8' }).end(script ? PLAYER : HTML)
  }).listen(0, '127.0.0.1')
  await once(site, 'listening')
  server = await Server.start({ config: `gateway: { origins: ["http://127.0.0.1:${site.address().port}"] }\n` })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  site?.close()
  await server?.stop()
})

for (const scheme of ['ws', 'http']) {
  test(`mpegts.js plays FLV over ${scheme} from another origin, with sound`, async (t) => {
    const page = await open(await person(browser), `http://127.0.0.1:${site.address().port}/`)
    await page.evaluate((url) => play(url), `${scheme}://127.0.0.1:${server.port}/live/demo.flv`)
    await page.waitForFunction(() => frames_seen >= 100 || troubles.length, null, { timeout: 30_000 })
    const seen = await page.evaluate(() => {
      const video = document.querySelector('video')
      const { videoCodec, audioCodec } = player.mediaInfo
      return { troubles, shape: `${video.videoWidth}x${video.videoHeight}`, sound: video.webkitAudioDecodedByteCount, videoCodec, audioCodec, gaps: video.buffered.length - 1 }
    })
    t.diagnostic(JSON.stringify(seen))
    assert.deepEqual(seen.troubles, [])
    assert.equal(seen.shape, '1280x720')
    assert.match(seen.videoCodec, /^avc1\./)
    assert.equal(seen.audioCodec, 'mp4a.40.2')
    assert.ok(seen.sound > 0, 'no sound was decoded')
    assert.equal(seen.gaps, 0)
    clean(page)
    await page.context().close()
  })
}
