// SPDX-License-Identifier: MIT
// Which uploads the tabs of this browser are at: they share what an upload needs to go on after a reload, so a tab must not
// offer to discard what another is sending. Each tab answers for its own; one that is gone says nothing.

const ANSWER_MS = 300

interface Talk {
  ask?: true
  at?: string[]
}

const own = new Set<string>()
let channel: BroadcastChannel | undefined

function open(): BroadcastChannel | undefined {
  if (channel || typeof BroadcastChannel !== 'function') return channel
  const made = (channel = new BroadcastChannel('watchroom.uploads'))
  made.addEventListener('message', ({ data }: MessageEvent<Talk>) => {
    if (data.ask) made.postMessage({ at: [...own] } satisfies Talk)
  })
  return made
}

/** This tab is at the upload of this fingerprint, or no more. */
export function claim(fingerprint: string, mine: boolean): void {
  if (mine) own.add(fingerprint)
  else own.delete(fingerprint)
  open()
}

/** The fingerprints of what other tabs are at. */
export async function elsewhere(): Promise<Set<string>> {
  const found = new Set<string>()
  const talk = open()
  if (!talk) return found
  const listen = ({ data }: MessageEvent<Talk>): void => data.at?.forEach((one) => found.add(one))
  talk.addEventListener('message', listen)
  talk.postMessage({ ask: true } satisfies Talk)
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS))
  talk.removeEventListener('message', listen)
  return found
}
