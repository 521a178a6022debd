// SPDX-License-Identifier: MIT
// One room in the lobby: picture or state, name, who is there, how long ago somebody spoke. Updated in place, so that the
// keyboard's focus stays where it is.
import { roomPath, type RoomInfo, type StreamInfo } from '../base/api'
import { fill, h, setAttr, setText } from '../base/dom'
import { ago, hueOf, initial } from '../base/format'
import { lang, t } from '../base/i18n'
import { icon } from '../base/icons'
import { reasonText } from '../base/reasons'


export class Card {
  readonly element: HTMLLIElement
  readonly canvas = h('canvas', { class: 'tile-picture', 'aria-hidden': 'true', hidden: true })
  /** When the picture was taken; 0 for never. */
  pictured = 0
  /** When one was tried for, whatever came of it. */
  tried = 0
  /** The last try brought none. */
  failed = false
  private readonly tile: HTMLElement
  private readonly badge = h('span', { class: 'badge' })
  private readonly note = h('p', { class: 'tile-note' })
  private readonly people = h('span', { class: 'card-people' })
  private readonly when = h('span', { class: 'card-when' })

  constructor(readonly room: string) {
    this.tile = h('div', { class: `tile hue-${hueOf(room, 8)}` }, h('span', { class: 'tile-letter', 'aria-hidden': 'true' }, initial(room)), this.canvas, this.note, this.badge)
    this.element = h(
      'li',
      { class: 'room-card' },
      h('a', { class: 'room-link', href: roomPath(room) }, this.tile, h('div', { class: 'card-text' }, h('h2', { class: 'card-name', dir: 'auto' }, room), h('p', { class: 'card-facts' }, this.people, this.when))),
    )
  }

  update(room: RoomInfo, stream: StreamInfo | undefined, now: number): void {
    const state = stream?.state ?? (room.stream ? 'idle' : 'none')
    this.element.dataset.state = state
    // The last picture stays, dimmed, when no newer one comes: better to know a camera by than a letter.
    this.canvas.hidden = this.pictured === 0 || state === 'none'
    this.canvas.classList.toggle('old', state !== 'live')
    fill(this.badge, h('i', { class: 'dot' }), t(({ live: 'live', starting: 'stateStarting', retrying: 'stateRetrying', idle: 'stateIdle', none: 'stateNone' } as const)[state]))
    const note = this.noteOf(state, stream)
    setText(this.note, note)
    setAttr(this.note, 'hidden', note === '')
    if (this.people.dataset.n !== String(room.members)) {
      this.people.dataset.n = String(room.members)
      fill(this.people, icon('people'), room.members ? t('peopleHere', { n: room.members }) : t('nobodyHere'))
    }
    setText(this.when, room.last_time ? t('spoke', { when: ago(room.last_time, now, lang) }) : '')
  }

  private noteOf(state: string, stream: StreamInfo | undefined): string {
    if (state === 'retrying') return t('sourceDownWhy', { reason: reasonText(stream?.reason ?? '') || t('noReason') })
    return state === 'live' && this.failed ? t('noPreview') : ''
  }
}
