// SPDX-License-Identifier: MIT
// The room's files: what is on its way up, and what the log says was shared, newest first.
import { fill, h, setText } from '../base/dom'
import { ago, fullTime, shortHash, size } from '../base/format'
import { lang, t } from '../base/i18n'
import { icon } from '../base/icons'
import type { Entry } from '../chat/entry'
import { Uploads } from './uploads'

export class Files {
  readonly element: HTMLElement
  readonly uploads: Uploads
  private readonly list = h('ul', { class: 'file-list', 'aria-label': t('filesShared') })
  private readonly count = h('span', { class: 'count' })
  private readonly empty = h('p', { class: 'drop-hint' })
  private readonly older: HTMLButtonElement
  private readonly noOlder = h('p', { class: 'files-none', role: 'status' })
  private shown = ''

  constructor(room: string, sender: () => string, loadOlder: () => Promise<void>, show: () => void) {
    this.older = h('button', { class: 'button quiet older', type: 'button', hidden: true }, t('olderFiles'))
    this.older.addEventListener('click', () => void this.whileBusy(loadOlder))
    this.uploads = new Uploads(room, sender, show)
    fill(this.empty, icon('upload'), h('span', null, t('dropHint')))
    this.element = h(
      'section',
      { class: 'files card', id: 'files', 'aria-labelledby': 'files-title' },
      h(
        'header',
        { class: 'card-head' },
        h('h2', { id: 'files-title' }, t('files')),
        this.count,
        h('span', { class: 'spacer' }),
        h('button', { class: 'button', type: 'button', id: 'upload-button', on: { click: () => this.uploads.choose() } }, icon('upload'), t('upload')),
        this.uploads.picker,
      ),
      this.uploads.element,
      this.list,
      this.older,
      this.noOlder,
      this.empty,
      h('div', { class: 'drop-veil', 'aria-hidden': 'true' }, icon('upload'), t('dropHere')),
    )
  }

  /** `files` in the order of the log; `hasOlder`: there may be more before them. */
  update(files: readonly Entry[], hasOlder: boolean): void {
    this.older.hidden = !hasOlder
    const entries = [...files].reverse()
    const key = entries.map((entry) => entry.offset).join()
    if (key === this.shown && key !== '') return
    this.shown = key
    setText(this.count, entries.length ? String(entries.length) : '')
    this.empty.classList.toggle('compact', entries.length > 0)
    fill(this.list, ...entries.map(row))
  }

  private async whileBusy(act: () => Promise<void>): Promise<void> {
    this.older.disabled = true
    const before = this.shown
    await act().catch(() => undefined) // the connection's banner says why; the button is there to try again
    this.older.disabled = false
    setText(this.noOlder, this.shown === before && this.older.hidden ? t('noOlderFiles') : '')
  }
}

function row(entry: Entry): HTMLElement {
  const { file } = entry
  if (!file) return h('li')
  return h(
    'li',
    { class: 'file' },
    h('span', { class: `file-kind kind-${kind(file.type)}`, 'aria-hidden': 'true' }, extension(file.name)),
    h(
      'div',
      { class: 'file-what' },
      h('a', { class: 'file-name', href: file.url, download: file.name, dir: 'auto' }, file.name),
      h(
        'p',
        { class: 'file-facts' },
        h('span', null, size(file.size)),
        h('time', { datetime: new Date(entry.time).toISOString(), title: fullTime(entry.time, lang) }, `${entry.name || t('nameless')}, ${ago(entry.time, Date.now(), lang)}`),
        file.sha256 && h('code', { class: 'file-hash', title: `SHA-256 ${file.sha256}` }, shortHash(file.sha256)),
      ),
    ),
    h('a', { class: 'icon-button', href: file.url, download: file.name, 'aria-label': t('downloadName', { name: file.name }), title: t('download') }, icon('download')),
  )
}

export function extension(name: string): string {
  const match = /\.([A-Za-z0-9]{1,4})$/.exec(name)
  return match ? (match[1] as string).toUpperCase() : '–'
}

export function kind(type: string): 'picture' | 'video' | 'sound' | 'text' | 'other' {
  const family = type.split('/')[0]
  if (family === 'image') return 'picture'
  if (family === 'video') return 'video'
  if (family === 'audio') return 'sound'
  if (family === 'text' || type === 'application/pdf' || type === 'application/json') return 'text'
  return 'other'
}
