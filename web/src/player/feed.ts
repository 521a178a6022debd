// SPDX-License-Identifier: MIT
// Bytes into the media element: one MediaSource and one SourceBuffer for one timeline. It can be made before the type is known,
// so that the browser opens it while the line is opened. Appends wait for each other and are joined; old media is cut away; a
// full buffer makes room and tries again.
import { t } from '../base/i18n'

interface ManagedWindow {
  MediaSource?: typeof MediaSource
  ManagedMediaSource?: typeof MediaSource
}

/** iPhones have only ManagedMediaSource; where both exist the plain one gives us the say over what is kept. */
export function mediaSourceClass(): typeof MediaSource | undefined {
  const scope = globalThis as unknown as ManagedWindow
  return scope.MediaSource ?? scope.ManagedMediaSource
}

export function canPlay(mime: string): boolean {
  return mediaSourceClass()?.isTypeSupported(mime) ?? false
}

const KEEP_BEHIND_S = 10
const TRIM_EVERY_S = 5
const QUEUE_MAX_BYTES = 32 * 1024 * 1024

export interface FeedEvents {
  appended(): void
  failed(reason: string): void
}

export class Feed {
  /** Empty until `begin`. */
  mime = ''
  private readonly source: MediaSource
  private readonly url: string
  private buffer: SourceBuffer | undefined
  private queue: Uint8Array[] = []
  private queued = 0
  private lastTrim = 0
  private closed = false

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly events: FeedEvents,
  ) {
    const Source = mediaSourceClass() as typeof MediaSource
    this.source = new Source()
    this.url = URL.createObjectURL(this.source)
    this.source.addEventListener('sourceopen', () => this.opened(), { once: true })
    video.disableRemotePlayback = true
    video.src = this.url
  }

  begin(mime: string): void {
    this.mime = mime
    if (this.source.readyState === 'open') this.opened()
  }

  push(data: ArrayBuffer): void {
    if (this.closed) return
    this.queue.push(new Uint8Array(data))
    this.queued += data.byteLength
    if (this.queued > QUEUE_MAX_BYTES) this.fail(t('notTaken'))
    else this.pump()
  }

  close(): void {
    this.closed = true
    this.queue = []
    URL.revokeObjectURL(this.url)
    if (this.video.src === this.url) {
      this.video.removeAttribute('src')
      this.video.load()
    }
  }

  private opened(): void {
    if (this.closed || !this.mime || this.buffer) return
    try {
      this.buffer = this.source.addSourceBuffer(this.mime)
      this.buffer.mode = 'segments'
      this.source.duration = Infinity
    } catch (error) {
      this.fail(undecoded(error))
      return
    }
    this.buffer.addEventListener('updateend', () => {
      if (this.closed) return
      this.events.appended()
      this.pump()
    })
    this.buffer.addEventListener('error', () => this.fail(t('notDecoded')))
    this.pump()
  }

  private pump(): void {
    const { buffer } = this
    if (this.closed || !buffer || buffer.updating || this.source.readyState !== 'open' || this.queue.length === 0) return
    if (this.trim(buffer)) return
    const batch = this.queue
    this.queue = []
    try {
      buffer.appendBuffer(joined(batch) as BufferSource)
      this.queued = 0
    } catch (error) {
      if ((error as DOMException).name === 'QuotaExceededError' && this.makeRoom(buffer)) this.queue = batch.concat(this.queue)
      else this.fail(undecoded(error))
    }
  }

  /** True when a removal was begun; its updateend pumps on. */
  private trim(buffer: SourceBuffer): boolean {
    const now = this.video.currentTime
    if (now - this.lastTrim < TRIM_EVERY_S || buffer.buffered.length === 0) return false
    this.lastTrim = now
    const start = buffer.buffered.start(0)
    const end = now - KEEP_BEHIND_S
    if (end - start < 1) return false
    buffer.remove(start, end)
    return true
  }

  private makeRoom(buffer: SourceBuffer): boolean {
    if (buffer.updating || buffer.buffered.length === 0) return false
    const start = buffer.buffered.start(0)
    const end = this.video.currentTime - 1
    if (end - start < 0.5) return false
    buffer.remove(start, end)
    return true
  }

  private fail(reason: string): void {
    if (this.closed) return
    this.closed = true
    this.events.failed(reason)
  }
}

/** In the page's words, with the browser's own behind it. */
export function undecoded(error: unknown): string {
  const detail = (error as Error | null)?.message
  return detail ? `${t('notDecoded')} (${detail})` : t('notDecoded')
}

function joined(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}
