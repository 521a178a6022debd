// SPDX-License-Identifier: MIT
// A person with Chromium: opens the lobby, enters the room `demo`, sees the picture move, says a line.
//   node page.mjs http://127.0.0.1:8080 "the line"
// Prints one line of JSON: what was seen.
import { createRequire } from 'node:module'

const require = createRequire(new URL('../browser/package.json', import.meta.url))
const { chromium } = require('playwright-core')

const [base, line] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--autoplay-policy=no-user-gesture-required', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
try {
  const page = await browser.newPage({ locale: 'en-US' })
  const errors = []
  page.on('pageerror', (error) => errors.push(String(error)))
  await page.goto(`${base}/`)
  await page.locator('a.room-link', { hasText: 'demo' }).first().click()
  await page.locator('video').waitFor({ state: 'attached' })
  const frames = await page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const video = document.querySelector('video')
        let seen = 0
        const next = () => (++seen === 25 ? resolve(seen) : video.requestVideoFrameCallback(next))
        video.requestVideoFrameCallback(next)
        setTimeout(() => reject(new Error(`${seen} frames in 30 s`)), 30000)
      }),
  )
  await page.locator('#composer').fill(line)
  await page.locator('#composer').press('Enter')
  // Acknowledged, it has its place in the room's log.
  await page.locator('[role=log] [data-offset]', { hasText: line }).waitFor({ timeout: 15000 })
  console.log(JSON.stringify({ frames, errors }))
} finally {
  await browser.close()
}
