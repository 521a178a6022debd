// SPDX-License-Identifier: MIT
// The player's looks: picture, controls, and the state in words over the picture.
import { streams, type StreamInfo } from '../base/api'
import { fill, h, setAttr, setText } from '../base/dom'
import { t } from '../base/i18n'
import { icon, type IconName } from '../base/icons'
import { recall, remember } from '../base/prefs'
import { showKeys } from './keys'
import { reasonText } from '../base/reasons'
import { Player } from './player'
import type { SourceState } from './live-socket'
import { draw, snapshot } from './snapshot'

const POLL_MS = 5000
const POLL_SILENT_MS = 1500
const IDLE_MS = 3000
/** No words for what is over before they are read: a short stall keeps its picture in sight, a quick join needs none. */
const WAIT_TOLD_MS = 300

interface PhoneVideo extends HTMLVideoElement {
  webkitEnterFullscreen?: () => void
}

export class PlayerView {
  readonly element: HTMLElement
  readonly player: Player
  private readonly video = h('video', { class: 'player-video', playsinline: true, autoplay: true, 'aria-label': t('pictureLive') })
  private readonly still = h('canvas', { class: 'player-still', 'aria-hidden': 'true', hidden: true })
  private readonly veil = h('div', { class: 'player-veil', role: 'status', hidden: true })
  private readonly soundHint: HTMLButtonElement
  private readonly badge = h('span', { class: 'live-badge', hidden: true }, h('i', { class: 'dot' }), t('live'))
  private readonly playButton = control('pause', () => this.togglePlay())
  private readonly soundButton = control('muted', () => this.toggleSound())
  private readonly fullButton = control('expand', () => void this.toggleFull())
  private readonly theatreButton = control('theatre', () => this.toggleTheatre(), t('theatre'), 'T')
  private readonly volume = h('input', { class: 'volume', type: 'range', min: 0, max: 100, step: 5, 'aria-label': t('volume') })
  private readonly facts = h('p', { class: 'player-facts' })
  private readonly toast = h('p', { class: 'player-toast', role: 'status' })
  private info: StreamInfo | null = null
  private asked = 0
  private idleTimer: ReturnType<typeof setTimeout> | undefined
  private veilTimer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly stream: string,
    private readonly room: string,
  ) {
    this.soundHint = h('button', { class: 'sound-hint', type: 'button', on: { click: () => this.toggleSound() } }, icon('muted'), t('soundOn'))
    const bar = h(
      'div',
      { class: 'player-bar', role: 'group', 'aria-label': t('playerControls') },
      this.playButton,
      this.soundButton,
      this.volume,
      this.badge,
      h('span', { class: 'spacer' }),
      control('camera', () => void this.snap(), t('snapshot'), 'S'),
      document.pictureInPictureEnabled && control('pip', () => void this.togglePip(), t('pip'), 'P'),
      this.theatreButton,
      control('keys', showKeys, t('keys'), '?'),
      this.fullButton,
    )
    this.element = h('div', { class: 'player', role: 'region', 'aria-label': t('player') }, this.video, this.still, this.veil, this.soundHint, bar, this.toast)
    this.restoreSound()
    this.toggleTheatre(recall('theatre') === 'on')
    this.player = new Player(this.video, stream, { state: () => this.update(), source: (source) => this.told(source), silent: () => void this.ask(POLL_SILENT_MS), hold: () => this.hold(), frame: () => this.release() })
    this.listen()
  }

  /** One line about the stream, for below the picture. */
  get factsElement(): HTMLElement {
    return this.facts
  }

  start(): void {
    this.player.start()
    this.update()
    setInterval(() => void this.ask(POLL_MS), 1000)
    setTimeout(() => void this.ask(POLL_MS), WAIT_TOLD_MS)
  }

  private listen(): void {
    for (const type of ['pointermove', 'pointerdown', 'focusin']) this.element.addEventListener(type, () => this.wake())
    document.addEventListener('fullscreenchange', () => this.update())
    this.video.addEventListener('volumechange', () => {
      if (!this.video.muted && this.info?.audio !== '') this.player.listen()
      this.update()
    })
    this.video.addEventListener('dblclick', () => void this.toggleFull())
    this.volume.addEventListener('input', () => this.setVolume(Number(this.volume.value) / 100))
    document.addEventListener('keydown', (event) => this.key(event))
    this.wake()
  }

  /** M, F, S, K, P and T as on other players (keys.ts has the list), wherever the focus is, except where letters are being written. */
  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest('input, textarea, select, dialog, [contenteditable]')) return
    const act = { m: () => this.toggleSound(), f: () => void this.toggleFull(), s: () => void this.snap(), k: () => this.togglePlay(), p: () => void this.togglePip(), t: () => this.toggleTheatre(), '?': showKeys }[event.key.toLowerCase()]
    if (!act) return
    event.preventDefault()
    this.wake()
    act()
  }

  private say(words: string): void {
    setText(this.toast, words)
    setTimeout(() => setText(this.toast, ''), 3500)
  }

  /** The picture as large as the window has room beside the chat; kept for the next visit. */
  private toggleTheatre(on = !document.body.classList.contains('theatre')): void {
    document.body.classList.toggle('theatre', on)
    setAttr(this.theatreButton, 'aria-pressed', on ? 'true' : 'false')
    remember('theatre', on ? 'on' : null)
  }

  private async togglePip(): Promise<void> {
    if (!document.pictureInPictureEnabled) return
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture()
      else await this.video.requestPictureInPicture()
    } catch {
      this.say(t('snapshotNone')) // there is no picture yet, or the browser has reasons of its own
    }
  }

  private wake(): void {
    this.element.classList.add('awake')
    clearTimeout(this.idleTimer)
    this.idleTimer = setTimeout(() => this.element.classList.remove('awake'), IDLE_MS)
  }

  private togglePlay(): void {
    if (this.player.state === 'paused') this.player.start()
    else this.player.pause()
  }

  private toggleSound(): void {
    this.video.muted = !this.video.muted
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 0.5
    remember('sound', this.video.muted ? 'off' : 'on')
    // This is a gesture: if sound had kept the picture from starting, it may start now.
    if (this.video.paused && this.player.state !== 'paused') void this.video.play().catch(() => undefined)
  }

  private setVolume(volume: number): void {
    this.video.volume = volume
    this.video.muted = volume === 0
    remember('volume', String(volume))
    remember('sound', volume === 0 ? 'off' : 'on')
  }

  private restoreSound(): void {
    const volume = Number(recall('volume') ?? '1')
    this.video.volume = volume > 0 && volume <= 1 ? volume : 1
    this.video.muted = recall('sound') !== 'on'
  }

  private async toggleFull(): Promise<void> {
    if (document.fullscreenElement) await document.exitFullscreen()
    else if (this.element.requestFullscreen) await this.element.requestFullscreen().catch(() => undefined)
    else (this.video as PhoneVideo).webkitEnterFullscreen?.()
  }

  private async snap(): Promise<void> {
    const name = await snapshot(this.video, this.stream)
    this.say(name ? t('snapshotSaved', { name }) : t('snapshotNone'))
  }

  /** The last picture stays in sight while there is no new one. */
  private hold(): void {
    if (draw(this.video, this.still)) this.still.hidden = false
  }

  private release(): void {
    this.still.hidden = true
    if (!this.info) void this.ask(POLL_MS)
  }

  private async ask(interval: number): Promise<void> {
    const now = performance.now()
    if (document.hidden || now - this.asked < interval) return
    this.asked = now
    try {
      this.info = (await streams()).find(({ stream }) => stream === this.stream) ?? null
      if (this.info?.state === 'live') this.player.revive()
      this.update()
    } catch {
      // The chat's banner says that the server is away; the veil says that the picture is.
    }
  }

  private told(source: SourceState): void {
    this.info = { ...(this.info ?? { stream: this.stream }), ...source }
    this.update()
  }

  private update(): void {
    const { state } = this.player
    const playing = state === 'playing'
    this.element.dataset.state = state
    this.badge.hidden = !playing
    face(this.playButton, state === 'paused' ? 'play' : 'pause', state === 'paused' ? t('play') : t('pause'), 'K')
    face(this.soundButton, this.video.muted ? 'muted' : 'sound', this.video.muted ? t('unmute') : t('mute'), 'M')
    face(this.fullButton, document.fullscreenElement ? 'shrink' : 'expand', document.fullscreenElement ? t('exitFull') : t('full'), 'F')
    this.volume.value = String(this.video.muted ? 0 : Math.round(this.video.volume * 100))
    this.soundHint.hidden = !(playing && this.video.muted && this.info?.audio !== '')
    this.updateVeil()
    this.updateFacts()
  }

  private updateVeil(): void {
    const { state } = this.player
    if (this.veil.hidden && (state === 'connecting' || state === 'buffering')) this.veilTimer ??= setTimeout(() => this.drawVeil(), WAIT_TOLD_MS)
    else this.drawVeil()
  }

  private veilWords(): [string, string] | null {
    const { state } = this.player
    const reason = reasonText(this.player.reason)
    const source = reasonText(this.info?.reason ?? '')
    if (state === 'playing') return null
    if (state === 'unsupported') return [t('unsupported'), reason ? t('unsupportedCodec', { codec: reason }) : t('unsupportedMse')]
    if (state === 'paused') return [t('paused'), t('pausedHint')]
    if (this.info?.state === 'retrying') return [t('sourceDown'), t('sourceDownWhy', { reason: source || reason || t('noReason') })]
    if (state === 'down') return [t('pictureLost'), reason ? t('pictureLostWhy', { reason }) : t('pictureLostHint')]
    if (state === 'broken') return [t('pictureBroken'), t('pictureBrokenWhy', { reason })]
    if (this.info?.state === 'starting') return [t('sourceStarting'), source]
    return [this.info?.state === 'idle' ? t('sourceStarting') : t('pictureComing'), '']
  }

  private drawVeil(): void {
    clearTimeout(this.veilTimer)
    this.veilTimer = undefined
    const { state } = this.player
    const words = this.veilWords()
    setAttr(this.veil, 'hidden', words === null)
    const key = words?.join('\n') ?? ''
    if (this.veil.dataset.words === key) return
    this.veil.dataset.words = key
    const busy = state === 'connecting' || state === 'buffering'
    if (words) fill(this.veil, busy && h('i', { class: 'spinner' }), h('strong', null, words[0]), words[1] && h('p', null, words[1]))
    else fill(this.veil)
  }

  private updateFacts(): void {
    const { info } = this
    const facts = this.stream === this.room ? [] : [t('streamName', { stream: this.stream })]
    if (info?.width && info.height) facts.push(`${info.width}×${info.height}`)
    if (info?.fps) facts.push(`${Math.round(info.fps)} fps`)
    if (info?.viewers) facts.push(t('watching', { n: info.viewers }))
    setText(this.facts, facts.join(' · '))
  }
}

function control(name: IconName, act: () => void, label = '', keys = ''): HTMLButtonElement {
  const button = h('button', { class: 'player-button', type: 'button', on: { click: act } })
  if (label) face(button, name, label, keys)
  return button
}

function face(button: HTMLButtonElement, name: IconName, label: string, keys: string): void {
  if (button.dataset.face === name) return
  button.dataset.face = name
  setAttr(button, 'aria-label', label)
  setAttr(button, 'title', `${label} (${keys})`)
  setAttr(button, 'aria-keyshortcuts', keys)
  fill(button, icon(name))
}
