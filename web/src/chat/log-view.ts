// SPDX-License-Identifier: MIT
// The log on the page: grouped by sender, parted by day, following the newest line only while the reader is at the end.
import { h, fill, setAttr, setText } from '../base/dom'
import * as format from '../base/format'
import { lang, t } from '../base/i18n'
import { icon } from '../base/icons'
import { fileLine } from './file-line'
import type { Entry } from './entry'
import type { Pending } from './outbox'
import type { ChatSession } from './session'

const GROUP_MS = 5 * 60_000
const SHOWN_MAX = 600
const AT_END_PX = 48
const HUES = 8

export class LogView {
  readonly element: HTMLElement
  private readonly list = h('ol', { class: 'log-list' })
  /** Rebuilt at each step of a message on its way, so it is not read out: the log says when the message is there. */
  private readonly pendingList = h('ol', { class: 'log-list log-pending', 'aria-live': 'off' })
  private readonly older = h('button', { class: 'button quiet older', type: 'button', on: { click: () => void this.loadOlder() } }, t('loadOlder'))
  private readonly failed = h('p', { class: 'log-failed', role: 'status' })
  private readonly empty = h('p', { class: 'log-empty' })
  private readonly scroller: HTMLElement
  private readonly jump: HTMLButtonElement
  private last: Entry | null = null
  private atEnd = true
  private unread = 0
  private scheduled = false
  private rebuild = true
  private pendingChanged = false

  constructor(private readonly session: ChatSession) {
    this.scroller = h(
      'div',
      { class: 'log-scroll', role: 'log', tabindex: 0, 'aria-live': 'polite', 'aria-label': t('chatLog'), 'aria-busy': 'true', on: { scroll: () => this.scrolled() } },
      this.failed,
      this.older,
      this.empty,
      this.list,
      this.pendingList,
    )
    this.jump = h('button', { class: 'jump', type: 'button', hidden: true, on: { click: () => this.toEnd() } })
    this.element = h('div', { class: 'log' }, this.scroller, this.jump)
    this.older.hidden = true
    // The list grows also by itself, when a picture in it has been fetched.
    const observer = new ResizeObserver(() => this.atEnd && this.toEnd())
    observer.observe(this.scroller)
    observer.observe(this.list)
  }

  /** Collects changes until the next frame: a busy room must not lay out once a message. */
  update(rebuild: boolean): void {
    this.rebuild ||= rebuild
    if (this.scheduled) return
    this.scheduled = true
    nextFrame(() => {
      this.scheduled = false
      this.render()
    })
  }

  updatePending(): void {
    this.pendingChanged = true
    this.update(false)
  }

  private renderPending(): void {
    const follows = this.last !== null && this.last.client === this.session.client
    fill(this.pendingList, ...this.session.outbox.pending.map((item, index) => this.pendingLine(item, follows || index > 0)))
    this.pendingChanged = false
    if (this.atEnd) this.toEnd()
  }

  private render(): void {
    const { log, outbox, historyError, historyLoaded } = this.session
    if (this.rebuild || log.all.length === 0) this.renderAll(log.all)
    else this.renderNew(log.all)
    this.rebuild = false
    if (this.pendingChanged) this.renderPending()
    setText(this.failed, historyError && t('historyFailed', { reason: historyError }))
    setText(this.older, historyError ? t('retry') : t('loadOlder'))
    this.older.hidden = !this.session.hasOlder && !historyError
    this.empty.hidden = log.all.length > 0 || outbox.pending.length > 0 || historyError !== ''
    setText(this.empty, historyLoaded ? t('logEmpty') : t('loading'))
  }

  private renderAll(all: readonly Entry[]): void {
    // Lines that were there already must not be read out again.
    this.scroller.setAttribute('aria-busy', 'true')
    nextFrame(() => setAttr(this.scroller, 'aria-busy', this.session.historyLoaded || this.session.historyError ? 'false' : 'true'))
    const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop
    this.list.replaceChildren()
    this.last = null
    for (const entry of all) this.append(entry)
    if (this.atEnd) this.toEnd()
    else this.scroller.scrollTop = this.scroller.scrollHeight - fromEnd
  }

  private renderNew(all: readonly Entry[]): void {
    const known = this.last?.offset ?? -1
    const fresh: Entry[] = []
    for (let i = all.length - 1; i >= 0 && (all[i] as Entry).offset > known; i -= 1) fresh.unshift(all[i] as Entry)
    for (const entry of fresh) this.append(entry)
    if (this.atEnd) {
      this.cut()
      this.toEnd()
    } else this.countUnread(fresh.length)
  }

  /** A page that stays open for days keeps the newest lines; who reads farther up keeps what is there. */
  private cut(): void {
    this.session.trim(SHOWN_MAX)
    const { oldest } = this.session.log
    let first = this.list.firstElementChild
    while (first instanceof HTMLElement && !(Number(first.dataset.offset) >= oldest)) {
      first.remove()
      first = this.list.firstElementChild
    }
  }

  private append(entry: Entry): void {
    const newDay = !this.last || format.dayKey(this.last.time) !== format.dayKey(entry.time)
    if (newDay) this.list.append(h('li', { class: 'day' }, h('span', null, format.day(entry.time, lang))))
    const joined =
      !newDay && this.last !== null && this.last.name === entry.name && this.last.client === entry.client && entry.time - this.last.time < GROUP_MS
    this.list.append(line(entry, joined, entry.client !== '' && entry.client === this.session.client))
    this.last = entry
  }

  private pendingLine(item: Pending, joined: boolean): HTMLElement {
    const hue = `hue-${format.hueOf(item.name, HUES)}`
    const state = item.state === 'failed' ? t('sendFailed', { reason: item.reason || t('noReason') }) : item.state === 'waiting' ? t('sendWaiting') : t('sending')
    return h(
      'li',
      { class: `line ${joined ? 'joined' : 'first'} pending pending-${item.state}`, 'data-id': item.id },
      !joined && h('span', { class: `avatar ${hue}`, 'aria-hidden': 'true' }, format.initial(item.name)),
      h(
        'div',
        { class: 'line-body' },
        !joined && h('p', { class: 'line-head' }, h('b', { class: hue }, item.name)),
        h('p', { class: 'line-text' }, ...rich(item.text)),
        h(
          'p',
          { class: 'pending-state' },
          h('span', null, state),
          item.state === 'failed' && h('button', { class: 'link', type: 'button', on: { click: () => this.session.outbox.retry(item.id) } }, t('retry')),
          item.state === 'failed' && h('button', { class: 'link', type: 'button', on: { click: () => this.session.outbox.discard(item.id) } }, t('discard')),
        ),
      ),
    )
  }

  private async loadOlder(): Promise<void> {
    this.older.disabled = true
    await this.session.loadOlder()
    this.older.disabled = false
  }

  private scrolled(): void {
    this.atEnd = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < AT_END_PX
    if (this.atEnd) this.countUnread(-this.unread)
  }

  private countUnread(more: number): void {
    this.unread += more
    this.jump.hidden = this.unread === 0
    if (this.unread > 0) fill(this.jump, icon('down'), t('newMessages', { n: this.unread }))
  }

  private toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight
    this.atEnd = true
    this.countUnread(-this.unread)
  }
}

function nextFrame(run: () => void): void {
  if (document.hidden) setTimeout(run, 100)
  else requestAnimationFrame(run)
}

function line(entry: Entry, joined: boolean, own: boolean): HTMLElement {
  const name = entry.name || t('nameless')
  const hue = `hue-${format.hueOf(name, HUES)}`
  const stamp = h('time', { class: 'line-time', datetime: new Date(entry.time).toISOString(), title: format.fullTime(entry.time, lang) }, format.clock(entry.time, lang))
  const body =
    entry.kind === 'file' && entry.file
      ? fileLine(entry.file)
      : h('p', { class: entry.kind === 'other' ? 'line-text line-data' : 'line-text' }, ...rich(entry.text))
  return h(
    'li',
    { class: `line ${joined ? 'joined' : 'first'}${own ? ' own' : ''}`, 'data-offset': entry.offset },
    !joined && h('span', { class: `avatar ${hue}`, 'aria-hidden': 'true' }, format.initial(name)),
    h(
      'div',
      { class: 'line-body' },
      // Joined lines keep the sender for screen readers, which hear each line on its own.
      h('p', { class: joined ? 'line-head sr-only' : 'line-head' }, h('b', { class: hue }, name), stamp),
      body,
    ),
  )
}

function rich(text: string): (Node | string)[] {
  return format.linkify(text).map((piece) =>
    piece.href ? h('a', { href: piece.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, piece.text) : piece.text,
  )
}
