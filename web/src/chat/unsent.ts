// SPDX-License-Identifier: MIT
// Messages on their way out, kept over a reload of this tab: they go again under the same id, so none is said twice.
import type { Outgoing } from './outbox'

const key = (room: string): string => `watchroom.unsent.${room}`

export function keepUnsent(room: string, messages: Outgoing[]): void {
  try {
    if (messages.length) sessionStorage.setItem(key(room), JSON.stringify(messages))
    else sessionStorage.removeItem(key(room))
  } catch {
    // No storage, or full: the messages live as long as the page.
  }
}

export function recallUnsent(room: string): Outgoing[] {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(key(room)) ?? '[]')
    return Array.isArray(kept) ? kept.filter(isOutgoing) : []
  } catch {
    return []
  }
}

function isOutgoing(value: unknown): value is Outgoing {
  const message = value as Partial<Outgoing> | null
  return typeof message?.id === 'string' && typeof message.text === 'string' && typeof message.name === 'string'
}
