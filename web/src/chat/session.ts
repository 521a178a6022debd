// SPDX-License-Identifier: MIT
// One room over the Centrifuge protocol by the stock SDK: connection state, the log with its history and recovery, members,
// and the outbox. It says that something changed; views read the rest.
import { Centrifuge, type PublicationContext, type SubscribedContext, type Subscription } from 'centrifuge'
import { wsUrl } from '../base/api'
import { readEntry, type Entry } from './entry'
import { RoomLog } from './log'
import { Members, type ClientInfo } from './members'
import { Outbox } from './outbox'
import { timedSocket } from './timed-socket'
import { keepUnsent, recallUnsent } from './unsent'

export type Connection = 'connecting' | 'online' | 'reconnecting' | 'closed'

export interface SessionEvents {
  connection(): void
  log(change: 'append' | 'rebuild'): void
  members(): void
  pending(): void
}

const PAGE = 100

export class ChatSession {
  readonly log = new RoomLog()
  readonly members = new Members()
  readonly outbox: Outbox
  connection: Connection = 'connecting'
  /** Why the server closed the door for good, in its words. */
  closedReason = ''
  client = ''
  historyLoaded = false
  historyError = ''
  hasOlder = false
  /** For tests and the curious: how often the line was cut, and what recovery brought. */
  readonly counters = { cuts: 0, recovered: 0, notRecovered: 0 }

  private readonly centrifuge: Centrifuge
  private readonly subscription: Subscription
  private readonly times = new Map<number, number>()

  constructor(
    readonly room: string,
    private name: string,
    private readonly events: SessionEvents,
  ) {
    this.centrifuge = new Centrifuge(wsUrl('/connection/websocket'), {
      data: { name },
      minReconnectDelay: 200,
      maxReconnectDelay: 4000,
      websocket: timedSocket((offset, time) => this.times.set(offset, time)),
    })
    this.subscription = this.centrifuge.newSubscription(room, { recoverable: true, positioned: true, joinLeave: true })
    this.outbox = new Outbox((message) => this.subscription.publish(message), () => this.pendingChanged())
    this.listenClient()
    this.listenRoom()
  }

  start(): void {
    this.outbox.restore(recallUnsent(this.room))
    this.subscription.subscribe()
    this.centrifuge.connect()
  }

  /** Skip the waiting time between attempts. */
  reconnectNow(): void {
    this.centrifuge.disconnect()
    this.centrifuge.connect()
    if (this.subscription.state === 'unsubscribed') this.subscription.subscribe()
  }

  rename(name: string): void {
    if (name === this.name) return
    this.name = name
    this.centrifuge.setData({ name })
    this.reconnectNow()
  }

  say(text: string): void {
    this.outbox.add({ id: newId(), text, name: this.name })
  }

  async loadOlder(): Promise<void> {
    if (!this.log.oldest) return
    await this.load({ offset: this.log.oldest, epoch: this.log.epoch })
  }

  private listenClient(): void {
    this.centrifuge.on('connecting', ({ code }) => {
      // Code 0 is our own call, at the start or on a new name; anything else is a line that was cut.
      if (code !== 0) this.counters.cuts += 1
      this.setConnection(this.historyLoaded ? 'reconnecting' : 'connecting')
    })
    this.centrifuge.on('connected', ({ client }) => {
      this.client = client
    })
    this.centrifuge.on('disconnected', ({ code, reason }) => {
      if (code !== 0) this.close(`${reason} (${code})`)
    })
  }

  private listenRoom(): void {
    this.subscription.on('subscribing', () => this.outbox.setOnline(false))
    this.subscription.on('subscribed', (context) => this.subscribed(context))
    this.subscription.on('unsubscribed', ({ code, reason }) => {
      if (code !== 0) this.close(`${reason} (${code})`)
    })
    this.subscription.on('publication', (context) => this.take(context))
    this.subscription.on('join', ({ info }) => this.memberChange(() => this.members.join(info as ClientInfo)))
    this.subscription.on('leave', ({ info }) => this.memberChange(() => this.members.leave(info as ClientInfo)))
  }

  private subscribed(context: SubscribedContext): void {
    const epoch = context.streamPosition?.epoch ?? ''
    const fresh = !this.historyLoaded || (context.wasRecovering && !context.recovered)
    if (context.wasRecovering) this.counters[context.recovered ? 'recovered' : 'notRecovered'] += 1
    if (fresh) this.log.reset(epoch)
    this.setConnection('online')
    void this.loadMembers()
    // The SDK hands over recovered publications right after this event; only then is it known which messages went through.
    queueMicrotask(() => void this.catchUp(fresh))
  }

  private async catchUp(fresh: boolean): Promise<void> {
    if (fresh) await this.load()
    if (this.subscription.state === 'subscribed') this.outbox.setOnline(true)
  }

  private async load(since?: { offset: number; epoch: string }): Promise<void> {
    try {
      const page = await this.subscription.history({ limit: PAGE, reverse: true, since })
      this.log.epoch = page.epoch
      for (const publication of page.publications) this.admit(this.read(publication))
      this.hasOlder = page.publications.length === PAGE && this.log.oldest > 1
      this.historyLoaded = true
      this.historyError = ''
    } catch (error) {
      this.historyError = (error as Error).message || String(error)
    }
    this.events.log('rebuild')
  }

  private async loadMembers(): Promise<void> {
    try {
      const { clients } = await this.subscription.presence()
      this.memberChange(() => this.members.replace(clients as Record<string, ClientInfo>))
    } catch {
      // A room without presence: the count simply shows who joined since.
    }
  }

  private pendingChanged(): void {
    keepUnsent(this.room, this.outbox.unsent())
    this.events.pending()
  }

  private memberChange(change: () => void): void {
    change()
    this.events.members()
  }

  private take(context: PublicationContext): void {
    if (this.admit(this.read(context))) this.events.log('append')
  }

  private admit(entry: Entry): boolean {
    if (entry.id) this.outbox.seen(entry.id)
    return this.log.add(entry)
  }

  private read(context: PublicationContext): Entry {
    const offset = context.offset ?? 0
    const time = this.times.get(offset) ?? Date.now()
    this.times.delete(offset)
    return readEntry(context as Parameters<typeof readEntry>[0], time)
  }

  private setConnection(state: Connection): void {
    this.connection = state
    this.events.connection()
  }

  private close(reason: string): void {
    this.closedReason = reason
    this.outbox.setOnline(false)
    this.setConnection('closed')
  }
}

export function newId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  // Plain http on another machine is no secure context: no randomUUID there, but random values are.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
