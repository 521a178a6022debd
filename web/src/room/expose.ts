// SPDX-License-Identifier: MIT
// Numbers for tests and for the browser's console: `__watchroom.player()` and friends. Read-only.
import type { ChatSession } from '../chat/session'
import type { Uploads } from '../files/uploads'
import type { Player } from '../player/player'

interface Parts {
  session?: ChatSession
  uploads?: Uploads
  player?: Player
}

const parts: Parts = {}

export function expose(more: Parts): void {
  Object.assign(parts, more)
}

const view = {
  player: () => parts.player?.stats() ?? null,
  chat: () => {
    const { session } = parts
    if (!session) return null
    return {
      connection: session.connection,
      client: session.client,
      members: session.members.count,
      entries: session.log.all.map(({ offset, id, name, text, kind, file }) => ({ offset, id, name, text, kind, file })),
      pending: session.outbox.pending.map(({ id, text, state }) => ({ id, text, state })),
      epoch: session.log.epoch,
      ...session.counters,
    }
  },
  uploads: () => parts.uploads?.transfers.map(({ file, state, sent, resumedAt, reason }) => ({ name: file.name, size: file.size, state, sent, resumedAt, reason })) ?? [],
}

declare global {
  interface Window {
    __watchroom: typeof view
  }
}

window.__watchroom = view
