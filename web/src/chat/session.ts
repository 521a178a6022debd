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
  /** There is another shared file, or it is known now that there are no earlier ones. */
  files(): void
  members(): void
  pending(): void
}

const PAGE = 100
const FILES_MAX = 1000
/** Who came or went while the server's own line was cut is not told: the list is read again now and then. */
const MEMBERS_MS = 60_000

export class ChatSession {
  readonly log = new RoomLog()
  /** The shared files among the entries: they stay when the log forgets its oldest, and are read farther back by themselves. */
  readonly files = new RoomLog()
  readonly members = new Members()
  readonly outbox: Outbox
  connection: Connection = 'connecting'
  /** Why the server closed the door for good, in its words. */
  closedReason = ''
  client = ''
  historyLoaded = false
  historyError = ''
  hasOlder = false
  hasOlderFiles = false
  /** For tests and the curious: how often the line was cut, and what recovery brought. */
  readonly counters = { cuts: 0, recovered: 0, notRecovered: 0 }

  private readonly centrifuge: Centrifuge
  private readonly subscription: Subscription
  private readonly times = new Map<number, number>()
  /** How far back the history has been read for files. */
  private filesFrom = 0

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
    setInterval(() => this.refreshMembers(), MEMBERS_MS)
    document.addEventListener('visibilitychange', () => this.refreshMembers())
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

  /** The page of history before what there is; after a failure, what failed. */
  async loadOlder(): Promise<void> {
    await this.load(this.log.oldest)
  }

  /** Reads back page by page until one has a file in it. */
  async loadOlderFiles(): Promise<void> {
    const before = this.files.all.length
    try {
      while (this.hasOlderFiles && this.files.all.length === before) {
        const { publications, full } = await this.page(this.filesFrom)
        for (const entry of publications) if (entry.kind === 'file') this.files.add(entry)
        this.filesFrom = Math.min(this.filesFrom, ...publications.map(({ offset }) => offset))
        this.hasOlderFiles = full && this.filesFrom > 1
      }
    } finally {
      this.events.files()
    }
  }

  /** The log keeps its newest entries; the others are in the history, as those before them. */
  trim(max: number): void {
    if (this.log.trim(max)) this.hasOlder = true
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
    if (fresh) this.startOver(epoch)
    this.setConnection('online')
    void this.loadMembers()
    // The SDK hands over recovered publications right after this event; only then is it known which messages went through.
    queueMicrotask(() => void this.catchUp(fresh))
  }

  private startOver(epoch: string): void {
    this.log.reset(epoch)
    this.files.reset(epoch)
    this.filesFrom = 0
    this.historyLoaded = this.hasOlder = this.hasOlderFiles = false
  }

  private async catchUp(fresh: boolean): Promise<void> {
    if (fresh) await this.load()
    if (this.subscription.state === 'subscribed') this.outbox.setOnline(true)
  }

  /** Entries before `offset`, the newest first; 0 for the end of the log. `full`: there may be more before them. */
  private async page(offset: number): Promise<{ publications: Entry[]; full: boolean }> {
    const since = offset ? { offset, epoch: this.log.epoch } : undefined
    const { publications, epoch } = await this.subscription.history({ limit: PAGE, reverse: true, since })
    this.log.epoch = epoch
    return { publications: publications.map((one) => this.read(one)), full: publications.length === PAGE }
  }

  private async load(before = 0): Promise<void> {
    try {
      const { publications, full } = await this.page(before)
      for (const entry of publications) this.admit(entry)
      this.hasOlder = full && this.log.oldest > 1
      this.historyLoaded = true
      this.historyError = ''
      if (this.filesFrom === 0 || this.log.oldest < this.filesFrom) {
        this.filesFrom = this.log.oldest
        this.hasOlderFiles = this.hasOlder
      }
    } catch (error) {
      this.historyError = (error as Error).message || String(error)
    }
    this.events.log('rebuild')
    this.events.files()
  }

  private refreshMembers(): void {
    if (!document.hidden && this.subscription.state === 'subscribed') void this.loadMembers()
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
    const entry = this.read(context)
    if (!this.admit(entry)) return
    this.events.log('append')
    if (entry.kind === 'file') this.events.files()
  }

  private admit(entry: Entry): boolean {
    if (entry.id) this.outbox.seen(entry.id)
    if (!this.log.add(entry)) return false
    if (entry.kind === 'file' && this.files.add(entry) && this.files.trim(FILES_MAX)) {
      this.filesFrom = this.files.oldest
      this.hasOlderFiles = true
    }
    return true
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
