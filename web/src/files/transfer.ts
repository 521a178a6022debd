// SPDX-License-Identifier: MIT
// One upload by tus: it survives cuts by itself, can be paused, and goes on after a reload when the same file is chosen
// again, because its address is kept under the file's fingerprint.
import { Upload, defaultOptions, type DetailedError, type PreviousUpload } from 'tus-js-client'
import { claim, elsewhere } from './elsewhere'

export type TransferState = 'queued' | 'starting' | 'sending' | 'paused' | 'waiting' | 'done' | 'failed'

const ENDPOINT = '/files/'
/** A server that restarts is back in seconds, a network in minutes; after these it is the person's turn. */
const RETRY_MS = [0, 500, 1000, 2000, 3000, 5000, 5000, 10_000, 10_000, 15_000, 20_000, 30_000, 30_000, 60_000, 60_000]

/** Names the file within the room, so that the same file may go to two rooms. */
export function fingerprint(file: Pick<File, 'name' | 'size' | 'type' | 'lastModified'>, room: string): string {
  return ['watchroom', room, file.name, file.type, file.size, file.lastModified].map((part) => encodeURIComponent(String(part))).join('/')
}

/** A piece of an upload that a proxy in front found too large is sent in halves, down to this. */
const PIECE_MIN = 64 * 1024
const PIECE_FIRST = 8 * 1024 * 1024

/** The next size of a piece to try, or 0 when smaller ones make no sense. */
export function smallerPiece(piece: number, left: number): number {
  const half = Math.floor(Math.min(piece, left, 2 * PIECE_FIRST) / 2)
  return half >= PIECE_MIN ? half : 0
}

/** The server's own sentence; empty when it gave no answer at all. */
export function failureText(error: unknown): string {
  const response = (error as { originalResponse?: { getStatus(): number; getBody(): string } | null }).originalResponse
  if (!response) return ''
  try {
    const body = JSON.parse(response.getBody()) as { error?: { message?: string } }
    if (body.error?.message) return body.error.message
  } catch {
    // Plain text or a proxy's page.
  }
  return `HTTP ${response.getStatus()}`
}

/** 4xx means that trying again changes nothing, except for "not now" answers and a place that was lost (409, 423, 429). */
export function worthRetrying(status: number): boolean {
  return status === 0 || status >= 500 || [408, 409, 423, 425, 429].includes(status)
}

export class Transfer {
  state: TransferState = 'queued'
  sent = 0
  /** Why it waits or failed, in the server's words; empty when the server does not answer. */
  reason = ''
  resumedAt = 0
  /** Bytes a second over the last few seconds. */
  speed = 0
  private readonly upload: Upload
  private marks: { at: number; sent: number }[] = []

  constructor(
    readonly file: File,
    readonly room: string,
    sender: string,
    private readonly changed: (transfer: Transfer) => void,
  ) {
    this.upload = new Upload(file, {
      endpoint: ENDPOINT,
      metadata: { filename: file.name, filetype: file.type || 'application/octet-stream', room, name: sender },
      fingerprint: () => Promise.resolve(fingerprint(file, room)),
      removeFingerprintOnSuccess: true,
      retryDelays: RETRY_MS,
      onShouldRetry: (error) => this.shouldRetry(error),
      onProgress: (sent) => this.progress(sent),
      onSuccess: () => this.set('done'),
      onError: (error) => this.failed(error),
    })
  }

  async start(): Promise<void> {
    this.set('starting')
    claim(fingerprint(this.file, this.room), true)
    const earlier = await this.upload.findPreviousUploads()
    const known = earlier.find((one) => one.uploadUrl)
    if (known) this.upload.resumeFromPreviousUpload(known)
    this.upload.start()
  }

  pause(): void {
    this.set('paused')
    void this.upload.abort()
  }

  /** Has its turn again, as soon as one is free. */
  resume(): void {
    this.marks = []
    this.set('queued')
  }

  async cancel(): Promise<void> {
    claim(fingerprint(this.file, this.room), false)
    // The server may be away: forgetting it here is enough, its sweep removes the rest.
    await this.upload.abort(true).catch(() => undefined)
  }

  private shouldRetry(error: DetailedError): boolean {
    if (this.refusedByProxy(error)) return true
    const again = worthRetrying(error.originalResponse?.getStatus() ?? 0)
    if (!again || this.state === 'paused') return again
    this.reason = failureText(error)
    this.set('waiting')
    return true
  }

  /** 413 for bytes, and not in the server's own words: a proxy's limit for one request. The server has none for a piece. */
  private refusedByProxy(error: DetailedError): boolean {
    const { originalRequest: request, originalResponse: response } = error
    if (response?.getStatus() !== 413 || request?.getMethod() !== 'PATCH' || response.getHeader('Tus-Resumable')) return false
    const piece = smallerPiece(this.upload.options.chunkSize ?? Infinity, this.file.size)
    if (piece === 0) return false
    this.upload.options.chunkSize = piece
    return true
  }

  private progress(sent: number): void {
    if (this.state === 'paused') return
    if (this.state !== 'sending' && sent > 0 && this.marks.length === 0) this.resumedAt = sent
    this.sent = sent
    const now = performance.now()
    this.marks.push({ at: now, sent })
    while (this.marks.length > 2 && (this.marks[0] as { at: number }).at < now - 3000) this.marks.shift()
    const first = this.marks[0] as { at: number; sent: number }
    this.speed = now - first.at > 200 ? Math.max(0, ((sent - first.sent) / (now - first.at)) * 1000) : this.speed
    this.set('sending')
  }

  private failed(error: unknown): void {
    if (this.state === 'paused') return
    this.reason = failureText(error)
    this.set('failed')
  }

  private set(state: TransferState): void {
    if (state === 'done') {
      this.sent = this.file.size
      claim(fingerprint(this.file, this.room), false)
    }
    if (state === 'waiting') this.marks = []
    this.state = state
    this.changed(this)
  }
}

/** Uploads to this room that an earlier visit left unfinished, and that no other tab is at. */
export async function unfinished(room: string): Promise<PreviousUpload[]> {
  const all = await defaultOptions.urlStorage.findAllUploads()
  const busy = await elsewhere()
  return all.filter((one) => one.metadata?.room === room && one.uploadUrl && one.urlStorageKey.startsWith('tus::watchroom/') && !busy.has(printOf(one)))
}

/** Gives it up here and at the server; not when another tab has taken it on meanwhile. */
export async function forget(upload: PreviousUpload): Promise<void> {
  if ((await elsewhere()).has(printOf(upload))) return
  await defaultOptions.urlStorage.removeUpload(upload.urlStorageKey)
  if (upload.uploadUrl) await fetch(upload.uploadUrl, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } }).catch(() => undefined)
}

/** tus keeps an upload under `tus::<fingerprint>::<number>`. */
function printOf(upload: PreviousUpload): string {
  return upload.urlStorageKey.split('::')[1] ?? ''
}
