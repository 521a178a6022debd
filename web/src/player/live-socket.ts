// SPDX-License-Identifier: MIT
// The live door: first a text message with the MIME type, then media; between, text messages that begin with a brace tell
// what became of the source. It opens again by itself, with back-off.
import { wsUrl, type StreamState } from '../base/api'

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000]

export function backoff(attempt: number, random: number): number {
  const base = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] as number
  return Math.round(base * (0.8 + 0.4 * random))
}

export interface SourceState {
  state: StreamState
  reason: string
}

export function readState(text: string): SourceState | null {
  try {
    const { state, reason } = (JSON.parse(text) ?? {}) as Partial<SourceState>
    return state ? { state, reason: typeof reason === 'string' ? reason : '' } : null
  } catch {
    return null
  }
}

export interface LiveSocketEvents {
  mime(type: string): void
  source(source: SourceState): void
  media(data: ArrayBuffer): void
  /** The line is down; it will be tried again after `retryMs`. */
  down(reason: string, retryMs: number): void
}

export class LiveSocket {
  opens = 0
  private socket: WebSocket | null = null
  private attempt = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private running = false

  /** With `sound` false the line carries the picture alone; it takes effect when the line is opened. */
  constructor(
    private readonly stream: string,
    private readonly events: LiveSocketEvents,
    public sound = false,
  ) {}

  start(): void {
    if (this.running) return
    this.running = true
    this.open()
  }

  stop(): void {
    this.running = false
    clearTimeout(this.timer)
    this.drop()
  }

  /** Try at once instead of at the end of the back-off. */
  hurry(): void {
    if (!this.running || this.socket) return
    clearTimeout(this.timer)
    this.open()
  }

  restart(): void {
    if (!this.running) return
    clearTimeout(this.timer)
    this.drop()
    this.open()
  }

  private open(): void {
    const socket = new WebSocket(wsUrl(`/live/${encodeURIComponent(this.stream)}.mp4${this.sound ? '' : '?tracks=video'}`))
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => this.message(data as string | ArrayBuffer)
    socket.onclose = ({ reason }) => this.closed(socket, reason)
    this.socket = socket
    this.opens += 1
  }

  private message(data: string | ArrayBuffer): void {
    this.attempt = 0
    if (typeof data === 'string') return this.text(data)
    this.events.media(data)
  }

  private text(data: string): void {
    if (!data.startsWith('{')) return this.events.mime(data)
    const source = readState(data)
    if (source) this.events.source(source)
  }

  private closed(socket: WebSocket, reason: string): void {
    if (socket !== this.socket) return
    this.socket = null
    if (!this.running) return
    const wait = backoff(this.attempt, Math.random())
    this.attempt += 1
    this.timer = setTimeout(() => this.open(), wait)
    this.events.down(reason, wait)
  }

  private drop(): void {
    const { socket } = this
    this.socket = null
    if (!socket) return
    socket.onmessage = null
    socket.onclose = null
    socket.close()
  }
}
