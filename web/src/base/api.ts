// SPDX-License-Identifier: MIT
// The gateway's read-only lists, and addresses of its other doors.

export interface RoomInfo {
  room: string
  members: number
  offset: number
  epoch: string
  stream: string
  last_time: number
}

export type StreamState = 'idle' | 'starting' | 'live' | 'retrying'

export interface StreamInfo {
  stream: string
  state: StreamState
  reason?: string
  viewers?: number
  width?: number
  height?: number
  fps?: number
  video?: string
  audio?: string
}

/** As plain as the page's own preload of the rooms asks, or that would be asked for twice; the server says no-store. */
async function list<T>(path: string, key: string, signal?: AbortSignal): Promise<T[]> {
  const response = await fetch(path, { signal })
  if (!response.ok) throw new Error(await errorText(response))
  const body = (await response.json()) as Record<string, T[] | undefined>
  return Array.isArray(body[key]) ? body[key] : []
}

/** The server's own sentence when it gave one, else the status. */
export async function errorText(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: { message?: string } }
    if (body.error?.message) return body.error.message
  } catch {
    // Not JSON: a proxy's page. The status says more.
  }
  return `HTTP ${response.status} ${response.statusText}`.trim()
}

/** One slow answer must not pile up requests behind a poller. */
function timeLimit(ms: number): AbortSignal | undefined {
  return typeof AbortSignal.timeout === 'function' ? AbortSignal.timeout(ms) : undefined
}

export function rooms(): Promise<RoomInfo[]> {
  return list<RoomInfo>('/api/v1/rooms', 'rooms', timeLimit(8000))
}

export function streams(): Promise<StreamInfo[]> {
  return list<StreamInfo>('/api/v1/streams', 'streams', timeLimit(8000))
}

export function wsUrl(path: string): string {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${path}`
}

export function roomPath(room: string): string {
  return `/room/${encodeURIComponent(room)}`
}

export function roomFromPath(path: string): string {
  const name = path.replace(/^\/room\//, '').replace(/\/+$/, '')
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
