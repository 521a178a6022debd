// SPDX-License-Identifier: MIT
// By keyboard alone, and with a screen reader's roles: on a wide and a narrow screen, dark and light, in both languages.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { enter, launch, NARROW, open, person, player, playing, say, shows, WIDE } from './browser.mjs'
import { Server } from './server.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
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

async function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement
    if (element === document.body) return 'body'
    return element.getAttribute('aria-label') || element.textContent || element.id || element.tagName
  })
}

/** Tabs until the focus is on what matches; fails when it never gets there. */
async function tabTo(page, wanted) {
  const seen = []
  for (let i = 0; i < 40; i += 1) {
    await page.keyboard.press('Tab')
    const name = await focused(page)
    if (wanted.test(name)) return
    seen.push(name)
  }
  assert.fail(`no way to ${wanted} by Tab; passed ${seen.join(' | ')}`)
}

test('from the lobby to a sent message, the sound, the people and a new name without a mouse', async () => {
  const page = await open(await person(browser), server.url)
  await tabTo(page, /room-input/)
  await page.keyboard.type('demo')
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/room\/demo$/)
  await playing(page)

  await page.keyboard.press('Tab')
  assert.match(await focused(page), /Skip to the chat box/)
  await page.keyboard.press('Enter')
  assert.match(await focused(page), /^Message\. Enter sends/)
  await page.keyboard.type('by keyboard')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('two lines')
  await page.keyboard.press('Enter')
  await shows(page, 'by keyboard\ntwo lines')

  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Shift+Tab')
  assert.match(await focused(page), /^You are/)
  await page.keyboard.press('Enter')
  await page.keyboard.type('Key')
  await page.keyboard.press('Enter')
  assert.match(await focused(page), /^You are Key$/)

  await page.evaluate(() => document.activeElement.blur())
  await page.keyboard.press('m')
  assert.equal(await page.evaluate(() => document.querySelector('video').muted), false)
  await tabTo(page, /1 person here/)
  await page.keyboard.press('Enter')
  await page.locator('.person-name', { hasText: 'Key' }).waitFor()
  await page.keyboard.press('Escape')
  assert.equal(await page.locator('.people-panel').isVisible(), false)
})

test('letters in the message box are letters, not player commands', async () => {
  const page = await enter(await person(browser), server, 'demo')
  await playing(page)
  await page.getByRole('textbox', { name: /Message/ }).focus()
  await page.keyboard.type('mfsk')
  assert.equal(await page.getByRole('textbox', { name: /Message/ }).inputValue(), 'mfsk')
  assert.notEqual((await player(page)).state, 'paused')
  assert.equal(await page.evaluate(() => document.fullscreenElement), null)
})

test('an input method’s Enter does not send', async () => {
  const page = await enter(await person(browser, { lang: 'zh-CN' }), server, 'ime')
  await page.getByRole('textbox').fill('ni hao')
  await page.getByRole('textbox').dispatchEvent('keydown', { key: 'Enter', isComposing: true })
  assert.equal(await page.getByRole('textbox').inputValue(), 'ni hao')
})

test('on a narrow screen chat and files are two tabs that the arrows turn', async () => {
  const page = await enter(await person(browser, { viewport: NARROW }), server, 'tabs')
  await page.getByRole('tab', { name: 'Chat' }).focus()
  await page.keyboard.press('ArrowRight')
  assert.equal(await page.getByRole('tab', { name: 'Files' }).getAttribute('aria-selected'), 'true')
  assert.equal(await page.getByRole('tabpanel', { name: 'Files' }).isVisible(), true)
  assert.equal(await page.getByRole('log').isVisible(), false)
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(wider, 0)
})

test('messages are a polite log, and old ones are not read out', async () => {
  const page = await enter(await person(browser, { name: 'Ann' }), server, 'roles')
  const log = page.getByRole('log', { name: 'Messages' })
  assert.equal(await log.getAttribute('aria-live'), 'polite')
  assert.equal(await log.getAttribute('aria-busy'), 'false')
  await say(page, 'one')
  await say(page, 'two')
  await shows(page, 'two')
  assert.equal(await log.getByRole('listitem').filter({ hasText: 'Ann' }).count(), 2)
  for (const role of ['banner', 'main']) assert.equal(await page.getByRole(role).count(), 1, role)
})

test('the theme follows the system until it is chosen, and the choice is kept', async () => {
  const page = await enter(await person(browser, { colorScheme: 'light' }), server, 'theme')
  const theme = () => page.locator('html').getAttribute('data-theme')
  assert.equal(await theme(), 'light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.locator('html[data-theme=dark]').waitFor()
  await page.getByRole('button', { name: 'Light colours' }).click()
  assert.equal(await theme(), 'light')
  await page.reload()
  assert.equal(await theme(), 'light')
})

for (const [colorScheme, lang, viewport] of [['dark', 'en-GB', WIDE], ['light', 'zh-CN', NARROW], ['light', 'en-GB', WIDE], ['dark', 'zh-CN', NARROW]]) {
  test(`axe finds nothing: ${colorScheme}, ${lang}, ${viewport.width} px`, async () => {
    const context = await person(browser, { name: 'Ann', colorScheme, lang, viewport })
    const room = await enter(context, server, 'demo')
    await playing(room)
    await say(room, 'see https://example.org/')
    await shows(room, 'see')
    const lobby = await open(context, server.url)
    await lobby.locator('.room-card').first().waitFor()
    for (const page of [room, lobby]) {
      await page.evaluate(AXE)
      const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`), [])
    }
    await context.close()
  })
}
