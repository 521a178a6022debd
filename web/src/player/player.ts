// SPDX-License-Identifier: MIT
// The live player without its looks: socket to feed to video element, kept at the edge, rebuilt when the timeline changes or
// breaks. It states what it is doing; the view puts that in words.
import { EdgeController, PICTURE, stretches } from './edge'
import { Feed, canPlay, mediaSourceClass, undecoded } from './feed'
import { LiveSocket, backoff, type SourceState } from './live-socket'
import { soundFrame, soundNeed } from './sound'

export type PlayerState = 'connecting' | 'buffering' | 'playing' | 'down' | 'broken' | 'paused' | 'unsupported'

export interface PlayerStats {
  state: PlayerState
  frames: number
  /** Media that is buffered ahead of the shown picture, its low point, and what it is steered to. */
  gapMs: number
  marginMs: number
  targetMs: number
  rate: number
  stalls: number
  stalledMs: number
  jumps: number
  skips: number
  rebuilds: number
  connects: number
  /** From the call to the first picture on the screen. */
  firstFrameMs: number
  mime: string
}

const STEP_MS = 100
/** This long without a byte on an open line: ask what became of the stream. */
const SILENCE_MS = 2500
const DEAD_MS = 8000
const HIDDEN_MS = 60_000
/** A picture that ran this long was a good one: what breaks then is a first time again. */
const GOOD_MS = 5000
/** From so many breaks in a row on the person is told. */
const BREAKS_TOLD = 3

export interface PlayerEvents {
  state(): void
  /** The server tells what became of the source. */
  source(source: SourceState): void
  /** No media is coming: a good moment to read why from the stream list. */
  silent(): void
  /** About to lose the picture: keep the last one. */
  hold(): void
  frame(): void
}

export class Player {
  state: PlayerState = 'connecting'
  reason = ''
  private readonly edge = new EdgeController(PICTURE)
  private readonly socket: LiveSocket
  private feed: Feed | null = null
  private mime = ''
  private awaitsInit = false
  private timer: ReturnType<typeof setInterval> | undefined
  private lastData = 0
  private begun = 0
  private stallBegan = 0
  private showing = false
  private shownAt = 0
  private breaks = 0
  private rebuildTimer: ReturnType<typeof setTimeout> | undefined
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined
  private resting = false
  private readonly counts = { frames: 0, stalls: 0, stalledMs: 0, jumps: 0, skips: 0, rebuilds: 0, firstFrameMs: 0 }

  constructor(
    private readonly video: HTMLVideoElement,
    stream: string,
    private readonly events: PlayerEvents,
  ) {
    this.socket = new LiveSocket(stream, {
      mime: (type) => this.newTimeline(type),
      source: (source) => this.source(source),
      media: (data) => this.media(data),
      down: (reason) => this.lineDown(reason),
    })
    video.addEventListener('waiting', () => this.waiting())
    video.addEventListener('playing', () => this.moving())
    video.addEventListener('error', () => this.rebuild(undecoded(video.error)))
    document.addEventListener('visibilitychange', () => this.visibility())
    window.addEventListener('online', () => this.socket.hurry())
    this.watchFrames()
  }

  start(): void {
    if (!mediaSourceClass()) {
      this.set('unsupported')
      return
    }
    this.begun = performance.now()
    this.socket.sound = !this.video.muted
    this.lastData = this.begun
    this.breaks = 0
    this.set('connecting')
    clearTimeout(this.rebuildTimer)
    this.open()
    if (document.hidden) this.restLater()
    clearInterval(this.timer)
    this.timer = setInterval(() => this.step(), STEP_MS)
  }

  /** Sound is fetched once somebody listens: without it a player can be closer to the edge. */
  listen(): void {
    if (this.socket.sound) return
    this.socket.sound = true
    if (this.state !== 'paused' && this.state !== 'unsupported') this.socket.restart()
  }

  /** Stops watching altogether: the server may let the source rest. */
  pause(): void {
    this.events.hold()
    clearTimeout(this.rebuildTimer)
    this.socket.stop()
    clearInterval(this.timer)
    this.closeFeed()
    this.set('paused')
  }

  /** The source is live but this line has been silent: it is a dead line, open another. */
  revive(): void {
    if (performance.now() - this.lastData < DEAD_MS || this.state === 'paused') return
    this.lastData = performance.now()
    this.socket.restart()
  }

  stats(): PlayerStats {
    const ms = (seconds: number): number => Math.round(seconds * 1000)
    return {
      ...this.counts,
      state: this.state,
      gapMs: ms(this.edge.gap),
      marginMs: ms(this.edge.margin),
      targetMs: ms(this.edge.target),
      rate: this.video.playbackRate,
      connects: this.socket.opens,
      mime: this.mime,
    }
  }

  /** The browser takes as long to open a media source as the line does: both at once. */
  private open(): void {
    this.feed ??= this.newFeed()
    this.socket.start()
  }

  private newFeed(): Feed {
    return new Feed(this.video, { appended: () => this.appended(), failed: (reason) => this.rebuild(reason) })
  }

  private newTimeline(mime: string): void {
    this.lastData = performance.now()
    if (!canPlay(mime)) {
      this.socket.stop()
      this.closeFeed()
      this.reason = mime
      this.set('unsupported')
      return
    }
    if (this.feed?.mime) {
      this.counts.rebuilds += 1
      this.events.hold()
      this.closeFeed()
    }
    this.edge.rejoin(/mp4a|opus/.test(mime) ? soundNeed(0) : PICTURE)
    this.awaitsInit = mime.includes('mp4a') // Opus says in each frame how long it is, and cameras send 20 ms
    this.feed ??= this.newFeed()
    this.feed.begin(mime)
    this.mime = mime
    if (this.state !== 'broken') this.set('buffering')
  }

  private source(source: SourceState): void {
    this.lastData = performance.now()
    if (this.state === 'connecting') this.set('buffering')
    this.events.source(source)
  }

  private media(data: ArrayBuffer): void {
    this.lastData = performance.now()
    if (this.awaitsInit) this.readInit(new Uint8Array(data))
    this.step() // the low point of what is ahead is the moment before more comes
    this.feed?.push(data)
  }

  /** The first bytes of a timeline say how long its frames of sound are. */
  private readInit(init: Uint8Array): void {
    this.awaitsInit = false
    const frame = soundFrame(init)
    if (frame > 0) this.edge.rejoin(soundNeed(frame))
  }

  private appended(): void {
    this.step()
    if (this.video.paused && this.state !== 'paused') void this.play()
  }

  /** Sound needs a person's gesture first: without one, play silently rather than not at all. */
  private async play(): Promise<void> {
    try {
      await this.video.play()
    } catch (error) {
      if ((error as DOMException).name !== 'NotAllowedError' || this.video.muted) return
      this.video.muted = true
      await this.video.play().catch(() => undefined)
    }
  }

  private step(): void {
    const now = performance.now()
    if (now - this.lastData > SILENCE_MS && this.state !== 'paused') this.events.silent()
    if (!this.feed || this.video.readyState === 0) return
    const { buffered, currentTime } = this.video
    const ranges = Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)] as const)
    const order = this.edge.step({ now: now / 1000, position: currentTime, buffered: ranges })
    if (order.seek !== undefined) this.seek(order.seek, order.why)
    if (this.video.playbackRate === order.rate) return
    this.video.preservesPitch = stretches(order.rate)
    this.video.playbackRate = order.rate
  }

  private seek(to: number, why?: string): void {
    if (why === 'behind') this.counts.jumps += 1
    if (why === 'gap') this.counts.skips += 1
    this.video.currentTime = to
  }

  private waiting(): void {
    if (this.state !== 'playing' || this.video.seeking) return
    this.counts.stalls += 1
    this.stallBegan = performance.now()
    this.edge.stalled(this.stallBegan / 1000)
    this.set('buffering')
  }

  private moving(): void {
    if (this.stallBegan) this.counts.stalledMs += Math.round(performance.now() - this.stallBegan)
    this.stallBegan = 0
    if (this.feed) this.set('playing')
  }

  private lineDown(reason: string): void {
    this.showing = false
    this.events.hold()
    this.reason = reason
    this.set('down')
    this.events.silent()
  }

  /** The browser gave up on this timeline: start over with a fresh one, from the door; at once the first time, then ever later. */
  private rebuild(reason: string): void {
    if (!this.feed) return
    this.counts.rebuilds += 1
    this.breaks = this.showing && performance.now() - this.shownAt > GOOD_MS ? 1 : this.breaks + 1
    this.events.hold()
    this.closeFeed()
    this.reason = reason
    this.set(this.breaks < BREAKS_TOLD ? 'buffering' : 'broken')
    this.socket.stop()
    this.rebuildTimer = setTimeout(() => this.open(), this.breaks === 1 ? 0 : backoff(this.breaks - 2, Math.random()))
  }

  /** Nobody sees a hidden page: after a while its line is closed, unless somebody listens. */
  private visibility(): void {
    clearTimeout(this.hiddenTimer)
    if (document.hidden) return this.restLater()
    if (this.resting) {
      this.resting = false
      this.start()
      return
    }
    this.edge.rejoin()
    this.socket.hurry()
    this.step()
  }

  private restLater(): void {
    clearTimeout(this.hiddenTimer)
    this.hiddenTimer = setTimeout(() => this.rest(), HIDDEN_MS)
  }

  private rest(): void {
    if (this.state === 'paused' || this.state === 'unsupported' || !this.video.muted) return
    this.resting = true
    this.pause()
  }

  private closeFeed(): void {
    this.showing = false
    this.stallBegan = 0
    const { feed } = this
    this.feed = null
    feed?.close()
  }

  private watchFrames(): void {
    if (typeof this.video.requestVideoFrameCallback !== 'function') {
      this.video.addEventListener('timeupdate', () => this.framed())
      return
    }
    const next = (): void => {
      this.video.requestVideoFrameCallback(() => {
        this.framed()
        next()
      })
    }
    next()
  }

  private framed(): void {
    if (!this.feed) return
    this.counts.frames += 1
    if (!this.counts.firstFrameMs) this.counts.firstFrameMs = Math.round(performance.now() - this.begun)
    if (!this.showing) {
      this.showing = true
      this.shownAt = performance.now()
      this.events.frame()
    }
  }

  private set(state: PlayerState): void {
    if (state !== 'down' && state !== 'buffering' && state !== 'broken' && state !== 'unsupported') this.reason = ''
    this.state = state
    this.events.state()
  }
}
