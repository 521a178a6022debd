// SPDX-License-Identifier: MIT
// Chromium with a fresh profile, and pages whose every error fails the test that opened them.
import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const WIDE = { width: 1600, height: 900 }
export const NARROW = { width: 390, height: 844 }

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS })
}

/** A person: a browser context with a name of its own. */
export async function person(browser, { name, lang = 'en-GB', ...rest } = {}) {
  const context = await browser.newContext({ viewport: WIDE, locale: lang, ...rest })
  if (name) await context.addInitScript((value) => localStorage.getItem('watchroom.name') ?? localStorage.setItem('watchroom.name', value), name)
  return context
}

/** Opens a page and collects what must never happen on it: script errors and blocked content. */
export async function open(context, url) {
  const page = await context.newPage()
  page.troubles = []
  page.on('pageerror', (error) => page.troubles.push(`script: ${error.message}`))
  page.on('console', (message) => /Content Security Policy|Refused to/i.test(message.text()) && page.troubles.push(message.text()))
  await page.goto(url)
  return page
}

export async function enter(context, server, room) {
  const page = await open(context, `${server.url}/room/${encodeURIComponent(room)}`)
  await online(page)
  return page
}

/** Says `prefix` with the numbers 1 to `count`, all at once, by the text door of the page's room. */
export async function sayMany(page, prefix, count) {
  await page.evaluate(([words, n]) => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws?room=${location.pathname.split('/').at(-1)}`)
    socket.onopen = () => {
      for (let i = 1; i <= n; i += 1) socket.send(`${words}${i}`)
    }
  }, [prefix, count])
  await shows(page, `${prefix}${count}`, 60_000)
}

export function online(page, timeout = 15_000) {
  return page.waitForFunction(() => window.__watchroom?.chat()?.connection === 'online' && document.querySelector('[role=log]').getAttribute('aria-busy') === 'false', null, { timeout })
}

export async function say(page, text) {
  await page.getByRole('textbox', { name: /message|消息/i }).fill(text)
  await page.keyboard.press('Enter')
}

/** Waits until the page shows the text as a message of the log, not as one on its way. */
export function shows(page, text, timeout = 10_000) {
  return page.locator('.log-list:not(.log-pending) .line-text', { hasText: text }).first().waitFor({ timeout })
}

export function texts(page) {
  return page.evaluate(() => window.__watchroom.chat().entries.map((entry) => entry.text))
}

export function player(page) {
  return page.evaluate(() => window.__watchroom.player())
}

export function playing(page, frames = 5, timeout = 20_000) {
  return page.waitForFunction((n) => { const p = window.__watchroom.player(); return p?.state === 'playing' && p.frames >= n }, frames, { timeout })
}

export function clean(...pages) {
  for (const page of pages) assert.deepEqual(page.troubles, [])
}
