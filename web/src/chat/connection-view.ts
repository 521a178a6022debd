// SPDX-License-Identifier: MIT
// The state of the line in words: a small pill always, and a banner with what to do while it is down.
import { fill, h, setText } from '../base/dom'
import { t } from '../base/i18n'
import type { ChatSession } from './session'

/** A cut that heals at once should not flash a banner at people. */
const BANNER_DELAY_MS = 400

export class ConnectionView {
  readonly pill = h('span', { class: 'pill', role: 'status' })
  readonly banner = h('div', { class: 'banner', hidden: true })
  private readonly dot = h('i', { class: 'dot' })
  private readonly text = h('span', { class: 'pill-text' })
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly session: ChatSession) {
    fill(this.pill, this.dot, this.text)
    this.update()
  }

  update(): void {
    const state = this.session.connection
    this.pill.dataset.state = state
    setText(this.text, t(({ connecting: 'connecting', online: 'online', reconnecting: 'reconnecting', closed: 'closed' } as const)[state]))
    clearTimeout(this.timer)
    if (state === 'online') this.banner.hidden = true
    else this.timer = setTimeout(() => this.show(), state === 'closed' ? 0 : state === 'connecting' ? 2500 : BANNER_DELAY_MS)
  }

  private show(): void {
    const { connection, closedReason } = this.session
    const words = connection === 'closed' ? t('closedLong', { reason: closedReason }) : connection === 'connecting' ? t('connectingLong') : t('reconnectingLong')
    fill(this.banner, h('p', null, words), h('button', { class: 'button', type: 'button', on: { click: () => this.session.reconnectNow() } }, t('tryNow')))
    this.banner.hidden = false
  }
}
