// SPDX-License-Identifier: MIT
// Who is in the room: one presence answer, kept current by join and leave.

export interface Member {
  client: string
  name: string
}

export interface ClientInfo {
  client: string
  connInfo?: unknown
}

function nameOf(info: ClientInfo): string {
  const data = info.connInfo as { name?: unknown } | null | undefined
  return typeof data?.name === 'string' ? data.name : ''
}

export class Members {
  private byClient = new Map<string, Member>()

  get count(): number {
    return this.byClient.size
  }

  /** By name, nameless connections last. */
  list(): Member[] {
    return [...this.byClient.values()].sort((a, b) => Number(!a.name) - Number(!b.name) || a.name.localeCompare(b.name) || a.client.localeCompare(b.client))
  }

  replace(clients: Record<string, ClientInfo>): void {
    this.byClient = new Map(Object.values(clients).map((info) => [info.client, { client: info.client, name: nameOf(info) }]))
  }

  join(info: ClientInfo): void {
    this.byClient.set(info.client, { client: info.client, name: nameOf(info) })
  }

  leave(info: ClientInfo): void {
    this.byClient.delete(info.client)
  }
}
