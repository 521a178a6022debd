// SPDX-License-Identifier: MIT
// The live picture: it comes fast, moves, has sound, stays at the edge without stalls, and can be kept as a file.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { after, before, test } from 'node:test'
import { clean, enter, launch, open, person, player, playing } from './browser.mjs'
import { Server } from './server.mjs'

const WATCH_MS = Number(process.env.WATCHROOM_WATCH_S ?? 20) * 1000
let server
let browser
before(async () => {
  server = await Server.start({ config: 'streams:\n  demo: "synthetic:"\n  gone: rtsp://user:hidden@127.0.0.1:9/none\nrooms:\n  gone: { stream: gone }\n  demo: { stream: demo }\n' })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

/** Reads the millisecond clock that the demo picture carries in its top edge, for every presented frame. */
function watchClock(page) {
  return page.evaluate(() => {
    const video = document.querySelector('video')
    const canvas = new OffscreenCanvas(640, 20)
    const context = canvas.getContext('2d', { willReadFrequently: true })
    const ages = (window.clockAges = [])
    const frame = (now) => {
      context.drawImage(video, 0, 0, 640, 20, 0, 0, 640, 20)
      const { data } = context.getImageData(0, 10, 640, 1)
      let value = 0
      for (let bit = 0; bit < 32; bit += 1) value = value * 2 + (data[(bit * 20 + 10) * 4] > 127 ? 1 : 0)
      ages.push((Math.round(performance.timeOrigin + now) - value) >>> 0)
      video.requestVideoFrameCallback(frame)
    }
    video.requestVideoFrameCallback(frame)
  })
}

/** Server, encoder and browser alone keep the load near two. */
const busy = () => loadavg()[0] > 2 * cpus().length

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]

test('frames are presented and move', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page, 25)
  const shape = await page.evaluate(() => {
    const { videoWidth, videoHeight } = document.querySelector('video')
    return `${videoWidth}x${videoHeight}`
  })
  assert.equal(shape, '1280x720')
  await page.locator('.player-facts', { hasText: '1280×720' }).waitFor()
  clean(page)
})

test('there is sound: silent until asked for, then a tone', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page)
  assert.equal(await page.evaluate(() => document.querySelector('video').muted), true)
  await page.getByRole('button', { name: 'Turn the sound on' }).click()
  assert.equal(await page.evaluate(() => document.querySelector('video').muted), false)
  await page.waitForFunction(() => document.querySelector('video').webkitAudioDecodedByteCount > 0)
  const loudness = await page.evaluate(async () => {
    const audio = new AudioContext()
    await audio.resume()
    const analyser = audio.createAnalyser()
    audio.createMediaStreamSource(document.querySelector('video').captureStream()).connect(analyser)
    const samples = new Float32Array(analyser.fftSize)
    for (let i = 0; i < 100; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      analyser.getFloatTimeDomainData(samples)
      const rms = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length)
      if (rms > 0.005) return rms
    }
    return 0
  })
  assert.ok(loudness > 0.005, `loudness ${loudness}`)
  await page.reload()
  await playing(page)
})

test('it stays at the live edge: capture to screen, and no stall', async (t) => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page, 50)
  await page.waitForTimeout(4000) // the controller's own settling time is not what is measured
  const before = await player(page)
  await watchClock(page)
  await page.waitForTimeout(WATCH_MS)
  const now = await player(page)
  const ages = (await page.evaluate(() => window.clockAges)).sort((a, b) => a - b)
  const median = quantile(ages, 0.5)
  t.diagnostic(`capture to presented: median ${median} ms, p95 ${quantile(ages, 0.95)} ms, worst ${ages[ages.length - 1]} ms over ${ages.length} frames; stalls ${now.stalls - before.stalls}; target ${now.targetMs} ms`)
  assert.ok(median > 5, `the picture's clock is not read: ${median} ms`)
  assert.equal(now.rebuilds, 0)
  assert.equal(now.jumps, before.jumps)
  // Whatever the machine does, the delay is what the player was steered to and not a backlog that stayed.
  assert.ok(median <= now.targetMs + 250, `median ${median} ms at a target of ${now.targetMs} ms`)
  if (busy()) return t.diagnostic(`load ${loadavg()[0].toFixed(1)}: other work shares this machine, so the goals are not judged`)
  assert.ok(ages.length > (WATCH_MS / 1000) * 15, `${ages.length} frames`)
  assert.ok(median <= 150, `median ${median} ms`)
  assert.equal(now.stalls - before.stalls, 0)
})

test('who joins a running stream sees it at once', async (t) => {
  const first = await enter(await person(browser), server, 'demo')
  await playing(first, 30)
  const times = []
  for (let i = 0; i < 5; i += 1) {
    const context = await person(browser)
    const page = await enter(context, server, 'demo')
    await playing(page, 1)
    times.push((await player(page)).firstFrameMs)
    await context.close()
  }
  times.sort((a, b) => a - b)
  t.diagnostic(`first picture: median ${times[2]} ms of ${times.join(', ')}`)
  assert.ok(times[2] <= (busy() ? 5000 : 600), `${times}`)
})

test('a snapshot is a PNG in full size', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page)
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('s')])
  assert.match(download.suggestedFilename(), /^demo-\d{4}-\d\d-\d\d-\d{6}\.png$/)
  const png = readFileSync(await download.path())
  assert.deepEqual([png.toString('latin1', 1, 4), png.readUInt32BE(16), png.readUInt32BE(20)], ['PNG', 1280, 720])
})

test('full screen and back by the keyboard', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page)
  await page.keyboard.press('f')
  await page.waitForFunction(() => document.fullscreenElement?.classList.contains('player'))
  await page.keyboard.press('f')
  await page.waitForFunction(() => !document.fullscreenElement)
})

test('stopping to watch closes the line, watching again is live again', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page)
  await page.keyboard.press('k')
  await page.getByText('You are not watching').waitFor()
  const { frames } = await player(page)
  await page.keyboard.press('k')
  await playing(page, frames + 10)
  clean(page)
})

test('a source that is down is told in words, without its password', async () => {
  const page = await open(await person(browser), `${server.url}/room/gone`)
  await page.getByText('The source gives no picture').waitFor({ timeout: 30_000 })
  assert.doesNotMatch(await page.locator('body').innerText(), /hidden/)
  clean(page)
})

test('the lobby shows a picture of a room that is being watched', async () => {
  const viewer = await enter(await person(browser), server, 'demo')
  await playing(viewer)
  const lobby = await open(await person(browser), server.url)
  await lobby.locator('.tile-picture:not([hidden])').waitFor({ timeout: 20_000 })
  const lit = await lobby.evaluate(() => {
    const canvas = document.querySelector('.tile-picture:not([hidden])')
    return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size
  })
  assert.ok(lit > 10, `${lit} different values`)
  clean(viewer, lobby)
})
