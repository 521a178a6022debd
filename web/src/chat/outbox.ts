// SPDX-License-Identifier: MIT
// Messages on their way out. A message is sent once per connection, in order; one whose answer was lost with the connection
// goes again after the room's log has caught up, and not at all when the log already holds its id.

export interface Outgoing {
  id: string
  text: string
  name: string
}

export interface Pending extends Outgoing {
  state: 'waiting' | 'sending' | 'sent' | 'failed'
  reason: string
  tries: number
}

export interface PublishError {
  code?: number
  message?: string
  temporary?: boolean
}

/** The connection went (or never came) before an answer: the message may or may not be in the log. */
const UNANSWERED = new Set([1, 2, 3, 4, 7, 10, 11])
const MAX_TRIES = 4

export class Outbox {
  private queue: Pending[] = []
  private online = false
  private busy = false
  private generation = 0

  constructor(
    private readonly publish: (message: Outgoing) => Promise<unknown>,
    private readonly changed: () => void,
    private readonly later: (ms: number, run: () => void) => void = (ms, run) => void setTimeout(run, ms),
  ) {}

  get pending(): readonly Pending[] {
    return this.queue
  }

  /** Messages that an earlier load of the page could not get through. */
  restore(messages: Outgoing[]): void {
    for (const message of messages) this.add(message)
  }

  /** What a reload must not lose. */
  unsent(): Outgoing[] {
    return this.queue.filter((item) => item.state !== 'sent').map(({ id, text, name }) => ({ id, text, name }))
  }

  add(message: Outgoing): void {
    this.queue.push({ ...message, state: 'waiting', reason: '', tries: 0 })
    this.changed()
    void this.pump()
  }

  /** True once the subscription is live and what was missed has been delivered. */
  setOnline(online: boolean): void {
    this.online = online
    this.generation += 1
    if (!online) for (const item of this.queue) if (item.state === 'sending') item.state = 'waiting'
    this.changed()
    void this.pump()
  }

  /** The log holds this message: it has arrived, whatever became of its answer. */
  seen(id: string): void {
    const before = this.queue.length
    this.queue = this.queue.filter((item) => item.id !== id)
    if (this.queue.length !== before) this.changed()
  }

  retry(id: string): void {
    const item = this.queue.find((one) => one.id === id)
    if (!item || item.state !== 'failed') return
    Object.assign(item, { state: 'waiting', reason: '', tries: 0 })
    this.changed()
    void this.pump()
  }

  discard(id: string): void {
    this.seen(id)
  }

  private async pump(): Promise<void> {
    if (this.busy) return
    this.busy = true
    for (let item = this.next(); item; item = this.next()) await this.send(item)
    this.busy = false
  }

  private next(): Pending | undefined {
    return this.online ? this.queue.find((item) => item.state === 'waiting') : undefined
  }

  private async send(item: Pending): Promise<void> {
    const generation = this.generation
    item.state = 'sending'
    item.tries += 1
    this.changed()
    try {
      await this.publish({ id: item.id, text: item.text, name: item.name })
      item.state = 'sent'
    } catch (error) {
      this.failed(item, error as PublishError, generation)
    }
    this.changed()
  }

  private failed(item: Pending, error: PublishError, generation: number): void {
    const unanswered = UNANSWERED.has(error.code ?? 0)
    if (unanswered && generation !== this.generation) {
      // The connection was cut: the next one decides, and the cut does not count against the message.
      item.state = 'waiting'
      item.tries = 0
    } else if ((unanswered || error.temporary || error.code === 100 || error.code === 111) && item.tries < MAX_TRIES) {
      item.state = 'sending'
      this.later(1000 * 2 ** (item.tries - 1), () => {
        if (item.state === 'sending') item.state = 'waiting'
        void this.pump()
      })
    } else {
      item.state = 'failed'
      item.reason = error.message ?? ''
    }
  }
}
