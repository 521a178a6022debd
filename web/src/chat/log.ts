// SPDX-License-Identifier: MIT
// The room's log as far as this page has loaded it: ordered by offset, each message once. It knows nothing of sockets or
// elements.
import type { Entry } from './entry'

export class RoomLog {
  epoch = ''
  private entries: Entry[] = []
  private offsets = new Set<number>()
  private ids = new Map<string, number>()

  get all(): readonly Entry[] {
    return this.entries
  }

  /** Offset of the oldest entry that was loaded; 0 when there is none. */
  oldest = 0

  /** Takes an entry in. False when it is there already, or is a second copy of a message that was sent again. */
  add(entry: Entry): boolean {
    // A server without history gives no numbers: such an entry follows what is there.
    if (entry.offset === 0) entry.offset = (this.entries[this.entries.length - 1]?.offset ?? 0) + 1e-4
    if (this.offsets.has(entry.offset)) return false
    this.offsets.add(entry.offset)
    if (this.oldest === 0 || entry.offset < this.oldest) this.oldest = entry.offset
    if (entry.id && !this.claim(entry)) return false
    let at = this.entries.length
    while (at > 0 && (this.entries[at - 1] as Entry).offset > entry.offset) at -= 1
    this.entries.splice(at, 0, entry)
    return true
  }

  /** Forgets the oldest entries beyond `max`; they may be added again. True when there were any. */
  trim(max: number): boolean {
    if (this.entries.length <= max) return false
    this.entries = this.entries.slice(-max)
    this.oldest = (this.entries[0] as Entry).offset
    for (const offset of this.offsets) if (offset < this.oldest) this.offsets.delete(offset)
    for (const [id, offset] of this.ids) if (offset < this.oldest) this.ids.delete(id)
    return true
  }

  reset(epoch: string): void {
    this.epoch = epoch
    this.entries = []
    this.offsets.clear()
    this.ids.clear()
    this.oldest = 0
  }

  /** Of two copies the earlier one stays, whichever was loaded first. */
  private claim(entry: Entry): boolean {
    // The server's rule: one id with other data is another message.
    const key = [entry.id, entry.name, entry.text, entry.file?.id].join('\n')
    const known = this.ids.get(key)
    if (known !== undefined && known < entry.offset) return false
    if (known !== undefined) this.entries = this.entries.filter((old) => old.offset !== known)
    this.ids.set(key, entry.offset)
    return true
  }
}
