// SPDX-License-Identifier: MIT
// One entry of a room's log, read from a publication. Anybody may publish anything, so every field is checked here and the
// rest of the page can trust what it gets.

export interface SharedFile {
  id: string
  name: string
  size: number
  type: string
  sha256: string
  url: string
}

export interface Entry {
  offset: number
  time: number
  name: string
  /** The sender's connection, where the server told it. */
  client: string
  /** The sender's own id: the same message under the same id was sent again. Empty when it has none that is meant so. */
  id: string
  kind: 'text' | 'file' | 'other'
  text: string
  file?: SharedFile
}

export interface Publication {
  data?: unknown
  offset?: number
  info?: { client?: string; connInfo?: unknown }
  /** The server's own word about an entry. */
  tags?: Record<string, string>
}

type Bag = Record<string, unknown>

function bag(value: unknown): Bag {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Bag) : {}
}

function str(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** By the server's rule: a bot's counter is no id, and what the server takes for two messages is shown as two. */
function messageId(value: unknown): string {
  const bytes = new TextEncoder().encode(str(value)).length
  return bytes >= 8 && bytes <= 128 ? str(value) : ''
}

/** The server's own paths only: a link in the log must never lead a click to another site or to a script. */
export function safeFileUrl(url: string): string {
  return /^\/files\/[A-Za-z0-9._~-]+$/.test(url) ? url : ''
}

function sharedFile(value: unknown): SharedFile | undefined {
  const file = bag(value)
  const url = safeFileUrl(str(file.url))
  if (!url) return undefined
  const size = typeof file.size === 'number' && file.size >= 0 ? file.size : 0
  return { id: str(file.id), name: str(file.name) || url.slice(7), size, type: str(file.type), sha256: str(file.sha256), url }
}

export function readEntry(publication: Publication, time: number): Entry {
  const data = bag(publication.data)
  const entry: Entry = {
    offset: publication.offset ?? 0,
    time,
    name: str(data.name) || str(bag(publication.info?.connInfo).name),
    client: publication.info?.client ?? '',
    id: messageId(data.id),
    kind: 'other',
    text: '',
  }
  // Anybody may publish what looks like a file; only the server says of an entry that it is one.
  const file = publication.tags?.kind === 'file' && data.type === 'file' ? sharedFile(data.file) : undefined
  if (file) return { ...entry, kind: 'file', file }
  if (typeof data.text === 'string') return { ...entry, kind: 'text', text: data.text }
  return { ...entry, text: JSON.stringify(publication.data) ?? '' }
}
