// SPDX-License-Identifier: MIT
// The chat column: header, log, composer, tied to one session.
import { h } from '../base/dom'
import { t } from '../base/i18n'
import { Composer } from './composer'
import { ConnectionView } from './connection-view'
import { LogView } from './log-view'
import { NameChip, myName } from './name'
import { People } from './people'
import { ChatSession } from './session'
import { titleWith, Unseen } from './unseen'

export interface ChatHooks {
  attach(): void
  /** Pictures or files were pasted into the message. */
  paste(files: File[]): void
  /** The session's files changed. */
  filesChanged(session: ChatSession): void
}

export class Chat {
  readonly element: HTMLElement
  readonly session: ChatSession
  /** Above the box: what is on its way up, where the list of files is out of sight. */
  readonly tray = h('div', { class: 'chat-tray' })

  constructor(room: string, hooks: ChatHooks) {
    const session: ChatSession = new ChatSession(room, myName(), {
      connection: () => connection.update(),
      log: (change) => log.update(change === 'rebuild'),
      files: () => hooks.filesChanged(session),
      members: () => people.update(),
      pending: () => log.updatePending(),
    })
    const title = document.title
    const log = new LogView(session, new Unseen((count) => (document.title = titleWith(count, title))))
    const people = new People(session)
    const connection = new ConnectionView(session)
    const composer = new Composer(
      { say: (text) => (session.say(text), log.toEnd()), attach: hooks.attach, paste: hooks.paste },
      new NameChip(myName(), (name) => session.rename(name)).element,
    )
    this.session = session
    this.element = h(
      'section',
      { class: 'chat card', id: 'chat', 'aria-labelledby': 'chat-title' },
      h('header', { class: 'card-head' }, h('h2', { id: 'chat-title' }, t('chat')), connection.pill, people.button),
      people.panel,
      connection.banner,
      log.element,
      this.tray,
      composer.element,
    )
    log.update(true)
  }

  start(): void {
    this.session.start()
  }
}
