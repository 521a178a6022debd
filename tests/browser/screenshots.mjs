// SPDX-License-Identifier: MIT
// Writes the pictures of the README: lobby and room, both languages, dark and light, wide and narrow, from a real server with
// the talk of a morning in it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enter, launch, NARROW, open, person, player, playing, say, shows, WIDE } from './browser.mjs'
import { Server } from './server.mjs'

const out = process.argv[2]
mkdirSync(out, { recursive: true })

const CONFIG = `
streams:
  demo: "synthetic:"
  workshop: rtsp://192.0.2.17/stream1
rooms:
  demo: { stream: demo }
  workshop: { stream: workshop }
  reading-circle: {}
`

const TALK = [
  ['Mia', 'Good morning. The picture is up, and the clock in it runs.'],
  ['Jonas', 'Sharp, and the tone is there too.'],
  ['Jonas', 'How far behind the camera are we?'],
  ['林晓', '画面很清楚，延迟几乎感觉不到。'],
  ['Mia', 'About a tenth of a second. The run sheet is in the files; the long version is at https://example.org/plan'],
  ['Ada', 'Got it, thank you. I have added the floor plan.'],
]

const FILES = [
  ['run-sheet.pdf', 'application/pdf', 184_320],
  ['floor plan.png', 'image/png', 1_240_000],
]

function scratch(name, bytes) {
  const path = join(tmpdir(), name)
  writeFileSync(path, Buffer.alloc(bytes, name))
  return path
}

async function furnish(browser, server) {
  const people = new Map()
  for (const [name, text] of TALK) {
    if (!people.has(name)) people.set(name, await enter(await person(browser, { name }), server, 'demo'))
    await say(people.get(name), text)
    await shows(people.get(name), text)
  }
  // They talk and do not watch: five decoders are too many for a small machine, and the pictures are to show one that plays.
  for (const page of people.values()) {
    await page.evaluate(() => document.activeElement.blur())
    await page.keyboard.press('k')
  }
  for (const [name, , bytes] of FILES) {
    const ada = people.get('Ada')
    await ada.locator('#file-picker').setInputFiles(scratch(name, bytes))
    await ada.locator('.file', { hasText: name }).waitFor()
  }
  const reader = await enter(await person(browser, { name: 'Noor' }), server, 'reading-circle')
  await say(reader, 'Chapter four on Thursday?')
  const mia = await enter(await person(browser, { name: 'Mia' }), server, 'workshop')
  await say(mia, 'The bench camera is being moved, back at two.')
  await Promise.all([shows(reader, 'Chapter four'), shows(mia, 'The bench camera')])
}

/** A picture of the room while the picture in it moves; a stall before or after means another try. */
async function moving(page, path) {
  for (let tries = 0; tries < 20; tries += 1) {
    await playing(page)
    await page.locator('.player').hover()
    const { frames, stalls } = await player(page)
    await page.screenshot({ path })
    await playing(page, frames + 2)
    if ((await player(page)).stalls === stalls) return
  }
  throw new Error(`the picture does not play: no ${path}; is the machine busy?`)
}

async function shoot(browser, server, lang, colorScheme, viewport) {
  const context = await person(browser, { name: lang === 'zh-CN' ? '小雨' : 'Sam', lang, colorScheme, viewport, timezoneId: 'Europe/Berlin' })
  const key = `${lang.slice(0, 2)}-${colorScheme}-${viewport.width}`
  const room = await enter(context, server, 'demo')
  await playing(room, 60)
  await room.locator('.player-facts', { hasText: '1280×720' }).waitFor()
  await moving(room, join(out, `room-${key}.png`))
  if (viewport === NARROW) {
    await room.getByRole('tab').nth(1).click()
    await moving(room, join(out, `files-${key}.png`))
  }
  const lobby = await open(context, server.url)
  await lobby.locator('.tile-picture:not([hidden])').waitFor({ timeout: 20_000 })
  await lobby.locator('.room-card[data-state=retrying]').waitFor({ timeout: 20_000 })
  await lobby.screenshot({ path: join(out, `lobby-${key}.png`) })
  await context.close()
}

const server = await Server.start({ config: CONFIG })
const browser = await launch()
try {
  await furnish(browser, server)
  for (const lang of ['en-GB', 'zh-CN']) {
    for (const scheme of ['dark', 'light']) {
      for (const viewport of [WIDE, NARROW]) await shoot(browser, server, lang, scheme, viewport)
    }
  }
} finally {
  await browser.close()
  await server.stop()
}
