// SPDX-License-Identifier: MIT
// Numbers, sizes, times and hashes as people read them.
import type { Lang } from './i18n'

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']

/** Decimal units, as disks and file managers count: three significant digits, never "1000 KB". */
export function size(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–'
  let value = bytes
  let unit = 0
  while (unit < UNITS.length - 1 && Number(value.toPrecision(3)) >= 1000) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${UNITS[unit]}`
}

export function percent(part: number, whole: number): number {
  if (whole <= 0) return 100
  return Math.max(0, Math.min(100, Math.floor((part / whole) * 100)))
}

export function shortHash(hash: string): string {
  return hash.length > 12 ? `${hash.slice(0, 12)}…` : hash
}

function locale(lang: Lang): string {
  return lang === 'zh' ? 'zh-CN' : 'en-GB'
}

export function clock(ms: number, lang: Lang): string {
  return new Date(ms).toLocaleTimeString(locale(lang), { hour: '2-digit', minute: '2-digit', hour12: false })
}

export function fullTime(ms: number, lang: Lang): string {
  return new Date(ms).toLocaleString(locale(lang), { dateStyle: 'full', timeStyle: 'medium' })
}

export function dayKey(ms: number): string {
  const date = new Date(ms)
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`
}

export function day(ms: number, lang: Lang): string {
  return new Date(ms).toLocaleDateString(locale(lang), { weekday: 'long', day: 'numeric', month: 'long' })
}

/** "3 minutes ago" in the largest unit that fits. */
export function ago(ms: number, now: number, lang: Lang): string {
  const seconds = Math.max(0, Math.round((now - ms) / 1000))
  const relative = new Intl.RelativeTimeFormat(locale(lang), { numeric: 'auto' })
  if (seconds < 60) return relative.format(0, 'second')
  if (seconds < 3600) return relative.format(-Math.floor(seconds / 60), 'minute')
  if (seconds < 86400) return relative.format(-Math.floor(seconds / 3600), 'hour')
  return relative.format(-Math.floor(seconds / 86400), 'day')
}

/** A stable number below `count` for a name: the colour of its owner. */
export function hueOf(name: string, count: number): number {
  let hash = 2166136261
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619)
  return (hash >>> 0) % count
}

export function initial(name: string): string {
  return (Array.from(name.trim())[0] ?? '?').toLocaleUpperCase()
}

export interface Piece {
  text: string
  href?: string
}

/** Cut a text into plain pieces and web links; only http and https ever become links. */
export function linkify(text: string): Piece[] {
  const pieces: Piece[] = []
  let from = 0
  for (const match of text.matchAll(/https?:\/\/[^\s<>"'`，。；！？）】」]+/g)) {
    const url = withoutTail(match[0])
    if (!URL.canParse?.(url) && !parses(url)) continue
    if (match.index > from) pieces.push({ text: text.slice(from, match.index) })
    pieces.push({ text: url, href: url })
    from = match.index + url.length
  }
  if (from < text.length) pieces.push({ text: text.slice(from) })
  return pieces
}

/** A sentence's last marks are not its link's. By hand: an expression for the end of a text is tried at each of its marks. */
function withoutTail(url: string): string {
  let end = url.length
  while (end > 0 && '.,;:!?)]'.includes(url.charAt(end - 1))) end -= 1
  return url.slice(0, end)
}

function parses(url: string): boolean {
  try {
    return new URL(url).hostname !== ''
  } catch {
    return false
  }
}
