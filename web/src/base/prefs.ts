// SPDX-License-Identifier: MIT
// What the browser remembers between visits. Storage may be switched off (private windows, policies): then the page works
// the same and forgets.

const PREFIX = 'watchroom.'

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key)
  } catch {
    return null
  }
}

export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key)
    else localStorage.setItem(PREFIX + key, value)
  } catch {
    // Nothing to do: forgetting is the documented behaviour.
  }
}
