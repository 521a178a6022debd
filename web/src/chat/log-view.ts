// SPDX-License-Identifier: MIT
// The log on the page: grouped by sender, parted by day, following the newest line only while the reader is at the end. Earlier
// lines are put in front of those that are there, so that reading back costs the same whatever is loaded.
import { h, fill, setAttr, setText } from '../base/dom'
import * as format from '../base/format'
import { lang, t } from '../base/i18n'
import { icon } from '../base/icons'
import { fileLine } from './file-line'
import { folded } from './fold'
import type { Entry } from './entry'
import type { Pending } from './outbox'
import type { ChatSession } from './session'
import type { Unseen } from './unseen'

const GROUP_MS = 5 * 60_000
const SHOWN_MAX = 600
const AT_END_PX = 48
/** Earlier lines are asked for this far before the reader comes to the first one. */
const AHEAD_PX = 600
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
  private first: Entry | null = null
  private last: Entry | null = null
  private atEnd = true
  private lastTop = 0
  private loading = false
  private scheduled = false
  private rebuild = true
  private pendingChanged = false

  constructor(
    private readonly session: ChatSession,
    /** How many lines came that nobody can have seen: below what is in sight, or while the page was hidden. */
    private readonly unseen: Unseen,
  ) {
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
    document.addEventListener('visibilitychange', () => this.seen())
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
    if (this.rebuild || log.all.length === 0) this.renderRead(log.all)
    else this.renderNew(log.all)
    this.rebuild = false
    if (this.pendingChanged) this.renderPending()
    setText(this.failed, historyError && t('historyFailed', { reason: historyError }))
    setText(this.older, historyError ? t('retry') : t('loadOlder'))
    this.older.hidden = !this.session.hasOlder && !historyError
    this.empty.hidden = log.all.length > 0 || outbox.pending.length > 0 || historyError !== ''
    setText(this.empty, historyLoaded ? t('logEmpty') : t('loading'))
  }

  /** A page of history came: either the log begins anew, or it goes in front of what is there. */
  private renderRead(all: readonly Entry[]): void {
    // Lines that were there already must not be read out again.
    this.scroller.setAttribute('aria-busy', 'true')
    nextFrame(() => setAttr(this.scroller, 'aria-busy', this.session.historyLoaded || this.session.historyError ? 'false' : 'true'))
    const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop
    const known = this.first
    const at = known && all.indexOf(known)
    if (typeof at === 'number' && at >= 0 && this.follows(all)) this.prepend(all.slice(0, at))
    else this.renderAll(all)
    if (this.atEnd) this.toEnd()
    else this.scroller.scrollTop = this.lastTop = this.scroller.scrollHeight - fromEnd
    this.lookAhead()
  }

  /** True when nothing but earlier entries came: what is shown is the end of the log still. */
  private follows(all: readonly Entry[]): boolean {
    return this.last !== null && all[all.length - 1] === this.last
  }

  private renderAll(all: readonly Entry[]): void {
    this.list.replaceChildren()
    this.first = this.last = null
    for (const entry of all) this.append(entry)
  }

  private prepend(earlier: readonly Entry[]): void {
    const next = this.first
    const newest = earlier[earlier.length - 1]
    if (!next || !newest) return
    const lines = new DocumentFragment()
    let before: Entry | null = null
    for (const entry of earlier) {
      lines.append(...this.lines(entry, before))
      before = entry
    }
    // The line that stood first had its day and its sender above it; now the one before it may have said both.
    this.list.firstElementChild?.remove()
    if (this.list.firstElementChild?.getAttribute('data-offset') === String(next.offset)) this.list.firstElementChild.remove()
    lines.append(...this.lines(next, newest))
    this.list.prepend(lines)
    this.first = earlier[0] as Entry
  }

  private renderNew(all: readonly Entry[]): void {
    const known = this.last?.offset ?? -1
    const fresh: Entry[] = []
    for (let i = all.length - 1; i >= 0 && (all[i] as Entry).offset > known; i -= 1) fresh.unshift(all[i] as Entry)
    for (const entry of fresh) this.append(entry)
    if (this.atEnd) {
      this.cut()
      this.toEnd()
    }
    if (!this.atEnd || document.hidden) this.unseen.more(fresh.length)
    this.showJump()
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
    this.first = this.session.log.all[0] ?? null
  }

  private append(entry: Entry): void {
    this.list.append(...this.lines(entry, this.last))
    this.first ??= entry
    this.last = entry
  }

  /** A line, behind the name of its day where that begins. */
  private lines(entry: Entry, before: Entry | null): HTMLElement[] {
    const newDay = !before || format.dayKey(before.time) !== format.dayKey(entry.time)
    const joined = !newDay && before !== null && before.name === entry.name && before.client === entry.client && entry.time - before.time < GROUP_MS
    const one = line(entry, joined, entry.client !== '' && entry.client === this.session.client)
    return newDay ? [h('li', { class: 'day' }, h('span', null, format.day(entry.time, lang))), one] : [one]
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
        !joined && h('p', { class: 'line-head' }, h('b', { class: hue, dir: 'auto' }, item.name)),
        h('p', { class: 'line-text', dir: 'auto' }, ...rich(item.text)),
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
    if (this.loading) return
    this.loading = this.older.disabled = true
    await this.session.loadOlder()
    this.loading = this.older.disabled = false
  }

  /** Reading back goes on by itself; the button is for the keyboard, and for another try. */
  private lookAhead(): void {
    if (this.atEnd || this.scroller.scrollTop > AHEAD_PX || !this.session.hasOlder || this.session.historyError) return
    void this.loadOlder()
  }

  /** Only who scrolls up leaves the end: a picture that grows above it moves nobody. */
  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller
    if (scrollHeight - scrollTop - clientHeight < AT_END_PX) this.atEnd = true
    else if (scrollTop < this.lastTop) this.atEnd = false
    this.lastTop = scrollTop
    this.seen()
    this.lookAhead()
  }

  private seen(): void {
    if (this.atEnd && !document.hidden) this.unseen.none()
    this.showJump()
  }

  private showJump(): void {
    const { count } = this.unseen
    this.jump.hidden = this.atEnd || count === 0
    if (!this.jump.hidden) fill(this.jump, icon('down'), t('newMessages', { n: count }))
  }

  /** To the newest line, and from now on with it. */
  toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight
    this.lastTop = this.scroller.scrollTop
    this.atEnd = true
    this.seen()
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
      : folded(entry.text, h('p', { class: entry.kind === 'other' ? 'line-text line-data' : 'line-text', dir: 'auto' }, ...rich(entry.text)))
  return h(
    'li',
    { class: `line ${joined ? 'joined' : 'first'}${own ? ' own' : ''}`, 'data-offset': entry.offset },
    !joined && h('span', { class: `avatar ${hue}`, 'aria-hidden': 'true' }, format.initial(name)),
    h(
      'div',
      { class: 'line-body' },
      // Joined lines keep the sender for screen readers, which hear each line on its own.
      h('p', { class: joined ? 'line-head sr-only' : 'line-head' }, h('b', { class: hue, dir: 'auto' }, name), stamp),
      body,
    ),
  )
}

function rich(text: string): (Node | string)[] {
  return format.linkify(text).map((piece) =>
    piece.href ? h('a', { href: piece.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, piece.text) : piece.text,
  )
}
