// SPDX-License-Identifier: MIT
// The lobby: every room with its people and its picture, and a door to any room by name.
import '../styles/index'
import { roomPath, rooms, streams, type RoomInfo, type StreamInfo } from '../base/api'
import { fill, h, setAttr, setText } from '../base/dom'
import { t } from '../base/i18n'
import { topbar } from '../base/topbar'
import { icon } from '../base/icons'
import { recall, remember } from '../base/prefs'
import { Card } from './card'
import { grab } from './grab'
import { keepStill, recallStill } from './still'

const POLL_MS = 3000
const PICTURE_MS = 8000
/** A stream that nobody watches is left alone this long, so that looking at the lobby does not keep it running. */
const UNWATCHED_MS = 60_000
const PICTURES_MAX = 12
const NAME_MAX_BYTES = 255
/** From so many rooms on there is a choice between pictures and a list. */
const MANY = 9

class Lobby {
  private readonly cards = new Map<string, Card>()
  private readonly list = h('ul', { class: 'room-grid', id: 'rooms' })
  private readonly state = h('p', { class: 'lobby-state', role: 'status' }, t('loading'))
  private readonly layout = h('button', { class: 'icon-button', type: 'button', hidden: true, on: { click: () => this.chooseLayout(!this.list.classList.contains('compact')) } })
  private live: { card: Card; stream: StreamInfo }[] = []
  private wanted = ''

  constructor() {
    document.title = t('lobbyTitle')
    document.body.append(
      topbar({ id: 'rooms', text: t('skipToRooms') }),
      h('main', { class: 'lobby' }, h('div', { class: 'lobby-head' }, h('div', null, h('h1', null, t('lobbyHead')), h('p', { class: 'muted' }, t('lobbyLead'))), this.door(), this.layout), this.state, this.list),
    )
    this.chooseLayout(recall('lobby') === 'list')
  }

  async run(): Promise<void> {
    void this.takePictures()
    for (;;) {
      if (!document.hidden) await this.refresh()
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  private door(): HTMLFormElement {
    const input = h('input', { class: 'field', id: 'room-input', maxlength: 100, required: true, placeholder: t('roomPlaceholder'), autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
    const form = h('form', { class: 'door' }, h('label', { class: 'sr-only', for: 'room-input' }, t('roomLabel')), input, h('button', { class: 'button primary', type: 'submit' }, t('enter')))
    input.addEventListener('input', () => {
      input.setCustomValidity(nameFault(input.value.trim()))
      this.wanted = input.value.trim()
      this.filter()
    })
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const name = input.value.trim()
      if (name) location.assign(roomPath(name))
    })
    return form
  }

  private async refresh(): Promise<void> {
    try {
      // Rooms matter more than their pictures: they are listed also while the streams cannot be asked.
      const [all, running] = await Promise.all([rooms(), streams().catch(() => [])])
      this.show(all, new Map(running.map((stream) => [stream.stream, stream])))
      this.filter()
      this.list.classList.remove('stale')
    } catch (error) {
      setText(this.state, t('lobbyFailed', { reason: error instanceof TypeError ? t('serverAway') : (error as Error).message }))
      this.list.classList.add('stale')
    }
  }

  private newCard({ room, stream }: RoomInfo): Card {
    const card = new Card(room)
    this.cards.set(room, card)
    if (stream) void recallStill(stream, card.canvas).then((at) => (card.pictured = Math.max(card.pictured, at)))
    return card
  }

  private show(all: RoomInfo[], running: Map<string, StreamInfo>): void {
    const rank = (room: RoomInfo): number => (running.get(room.stream)?.state === 'live' ? 0 : room.members ? 1 : 2)
    const sorted = [...all].sort((a, b) => rank(a) - rank(b) || b.members - a.members || a.room.localeCompare(b.room))
    const now = Date.now()
    this.live = []
    sorted.forEach((room, index) => {
      const card = this.cards.get(room.room) ?? this.newCard(room)
      const stream = running.get(room.stream)
      card.update(room, stream, now)
      if (stream?.state === 'live') this.live.push({ card, stream })
      if (this.list.children[index] !== card.element) this.list.insertBefore(card.element, this.list.children[index] ?? null)
    })
    const names = new Set(all.map(({ room }) => room))
    for (const [name, card] of this.cards) {
      if (names.has(name)) continue
      card.element.remove()
      this.cards.delete(name)
    }
  }

  private chooseLayout(compact: boolean): void {
    this.list.classList.toggle('compact', compact)
    remember('lobby', compact ? 'list' : null)
    fill(this.layout, icon(compact ? 'tiles' : 'list'))
    setAttr(this.layout, 'aria-label', compact ? t('asTiles') : t('asList'))
    setAttr(this.layout, 'title', compact ? t('asTiles') : t('asList'))
  }

  /** What is written at the door also picks among the rooms that are there. */
  private filter(): void {
    const text = this.wanted.toLocaleLowerCase()
    let shown = 0
    for (const [name, card] of this.cards) {
      const fits = name.toLocaleLowerCase().includes(text)
      card.element.hidden = !fits
      if (fits) shown += 1
    }
    this.layout.hidden = this.cards.size < MANY && !this.list.classList.contains('compact')
    setText(this.state, this.cards.size === 0 ? t('noRooms') : shown === 0 ? t('noSuchRoom', { text: this.wanted }) : '')
  }

  /** One at a time, so that a lobby of many rooms costs the server one viewer. */
  private async takePictures(): Promise<void> {
    for (;;) {
      for (const { card, stream } of document.hidden ? [] : this.live.slice(0, PICTURES_MAX)) {
        const age = Date.now() - card.tried
        if (age < (stream.viewers ? PICTURE_MS : UNWATCHED_MS)) continue
        card.tried = Date.now()
        card.failed = !(await grab(stream.stream, card.canvas))
        if (card.failed) continue
        card.pictured = Date.now()
        card.canvas.hidden = false
        keepStill(stream.stream, card.canvas)
      }
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  }
}

/** What the server would refuse a room's name for; empty when nothing. */
function nameFault(name: string): string {
  if (name.startsWith('.')) return t('nameDot')
  if (/[/\\]/.test(name)) return t('nameSlash')
  return new TextEncoder().encode(name).length > NAME_MAX_BYTES ? t('nameLong') : ''
}

void new Lobby().run()
