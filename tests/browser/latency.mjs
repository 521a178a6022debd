// SPDX-License-Identifier: MIT
// Measures what a viewer of the demo stream sees, in Chromium: capture to presented over a minute and stalls, silent as the
// page begins and with sound; and how long a picture takes after joining a stream that runs. For bench/run; prints one line
// of JSON.
//
//     WATCHROOM_BIN=build/release/watchroom node tests/browser/latency.mjs [--seconds 60] [--joins 30]
import { parseArgs } from 'node:util'
import { enter, launch, person, player, playing } from './browser.mjs'
import { clockAges, quantile, watchClock } from './clock.mjs'
import { Server } from './server.mjs'

const { values } = parseArgs({ options: { json: { type: 'boolean' }, seconds: { type: 'string', default: '60' }, joins: { type: 'string', default: '30' } } })

/** Somebody who takes the bytes and looks at none. */
class Watcher {
  static async start(server) {
    const watcher = new Watcher()
    watcher.abort = new AbortController()
    const { body } = await fetch(`${server.url}/live/demo.mp4`, { signal: watcher.abort.signal })
    const reader = body.getReader()
    await reader.read()
    watcher.done = watcher.drain(reader)
    return watcher
  }

  async drain(reader) {
    try {
      for (let end = false; !end; ) end = (await reader.read()).done
    } catch (error) {
      if (error.name !== 'AbortError') throw error
    }
  }

  async stop() {
    this.abort.abort()
    await this.done
  }
}

/** The controller settles first; what is measured is the steady state. */
const SETTLE_MS = 10_000

async function steady(page) {
  const before = await player(page)
  await watchClock(page)
  await page.waitForTimeout(Number(values.seconds) * 1000)
  const now = await player(page)
  const ages = await clockAges(page)
  return {
    latency_ms_p50: quantile(ages, 0.5),
    latency_ms_p95: quantile(ages, 0.95),
    latency_ms_max: ages[ages.length - 1],
    frames: ages.length,
    stalls: now.stalls - before.stalls,
    target_ms: now.targetMs,
  }
}

const server = await Server.start()
const browser = await launch()
try {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page, 50)
  await page.waitForTimeout(SETTLE_MS)
  const silent = await steady(page)
  await page.getByRole('button', { name: 'Turn the sound on' }).click()
  await page.waitForFunction(() => document.querySelector('video').webkitAudioDecodedByteCount > 0)
  await page.waitForTimeout(SETTLE_MS)
  const sound = await steady(page)
  await page.context().close()
  const watching = await Watcher.start(server) // keeps the stream running, and decodes nothing beside the one who joins
  const joins = []
  for (let i = 0; i < Number(values.joins); i += 1) {
    const context = await person(browser)
    const joiner = await enter(context, server, 'demo')
    await playing(joiner, 1)
    joins.push((await player(joiner)).firstFrameMs)
    await context.close()
  }
  await watching.stop()
  joins.sort((a, b) => a - b)
  console.log(
    JSON.stringify({
      ...silent,
      ...Object.fromEntries(Object.entries(sound).map(([key, value]) => [`sound_${key}`, value])),
      join_ms_p50: quantile(joins, 0.5),
      join_ms_p95: quantile(joins, 0.95),
    }),
  )
} finally {
  await browser.close()
  await server.stop()
}
