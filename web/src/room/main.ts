// SPDX-License-Identifier: MIT
// The room page: picture left, files under it, chat right; on a narrow screen the picture stays on top and chat and files
// share the rest behind two tabs.
import '../styles/index'
import { roomFromPath, rooms, type RoomInfo } from '../base/api'
import { fill, h } from '../base/dom'
import { t } from '../base/i18n'
import { topbar } from '../base/topbar'
import { Chat } from '../chat/chat'
import { myName } from '../chat/name'
import { Files } from '../files/files'
import { PlayerView } from '../player/view'
import { expose } from './expose'
import { tabs, type Tabs } from './tabs'

const RETRY_MS = 2000

function build(room: string): void {
  document.title = `${room} · Watchroom`
  const files: Files = new Files(room, myName, () => chat.session.loadOlderFiles(), () => views.show('files'))
  const chat = new Chat(room, { attach: () => files.uploads.choose(), paste: (pasted) => files.uploads.add(pasted), filesChanged: ({ files: shared, hasOlderFiles }) => files.update(shared.all, hasOlderFiles) })
  const stage = h('div', { class: 'stage' })
  const facts = h('div', { class: 'stage-facts' }, h('h1', { class: 'room-name' }, room))
  const main = h('main', { class: 'room' }, h('div', { class: 'room-left' }, h('section', { class: 'watch', 'aria-label': t('picture') }, stage, facts), files.element), chat.element)
  document.body.append(topbar({ id: 'composer', text: t('skipToChat') }, h('span', { class: 'place' }, room)), main)
  const views: Tabs = tabs([
    { id: 'chat', label: t('chat'), panel: chat.element },
    { id: 'files', label: t('files'), panel: files.element },
  ])
  main.insertBefore(views.bar, chat.element)
  chat.tray.append(files.uploads.summary)
  files.uploads.acceptDrops(files.element)
  files.update([], false)
  expose({ session: chat.session, uploads: files.uploads })
  chat.start()
  void findStream(room, () => fill(stage, h('p', { class: 'stage-empty', role: 'status' }, t('noStreamYet')))).then((stream) => showStage(stage, facts, stream, room))
}

/** Which stream the room has; asked until the server answers. */
async function findStream(room: string, noAnswer: () => void): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    try {
      const all: RoomInfo[] = await rooms()
      return all.find((one) => one.room === room)?.stream ?? ''
    } catch {
      if (tries === 0) noAnswer()
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

function showStage(stage: HTMLElement, facts: HTMLElement, stream: string, room: string): void {
  document.body.classList.toggle('no-stream', !stream)
  if (!stream) {
    fill(stage, h('p', { class: 'stage-empty' }, t('noStream')))
    return
  }
  const view = new PlayerView(stream, room)
  fill(stage, view.element)
  facts.append(view.factsElement)
  expose({ player: view.player })
  view.start()
}

build(roomFromPath(location.pathname))
