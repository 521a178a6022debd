// SPDX-License-Identifier: MIT
// The server stamps each publication with its time, but the SDK does not hand that field on. This WebSocket is the browser's
// own; it only looks at incoming frames before the SDK does and notes offset and time.

interface Stamped {
  offset?: number
  time?: number
}

interface Reply {
  push?: { pub?: Stamped }
  subscribe?: { publications?: Stamped[] }
  history?: { publications?: Stamped[] }
}

export function stampsOf(frame: string): [number, number][] {
  if (!frame.includes('"time"')) return []
  const stamps: [number, number][] = []
  for (const line of frame.split('\n')) {
    if (!line.includes('"time"')) continue
    for (const publication of publications(line)) {
      if (publication.offset && publication.time) stamps.push([publication.offset, publication.time])
    }
  }
  return stamps
}

function publications(line: string): Stamped[] {
  try {
    const reply = JSON.parse(line) as Reply
    return [...(reply.push?.pub ? [reply.push.pub] : []), ...(reply.subscribe?.publications ?? []), ...(reply.history?.publications ?? [])]
  } catch {
    return []
  }
}

export function timedSocket(note: (offset: number, time: number) => void): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols)
      this.addEventListener('message', (event: MessageEvent) => {
        if (typeof event.data !== 'string') return
        for (const [offset, time] of stampsOf(event.data)) note(offset, time)
      })
    }
  }
}
