// SPDX-License-Identifier: MIT
// Files on their way up: button, drop, and a line for each with its progress and what can be done.
import { h, setAttr, setText } from '../base/dom'
import { percent, size } from '../base/format'
import { t } from '../base/i18n'
import { icon } from '../base/icons'
import { droppedFiles } from './dropped'
import { forget, Transfer, unfinished } from './transfer'

/** As many as go on at once: more would keep the page's own requests waiting behind them on a slow line. */
const AT_ONCE = 3
/** Lines of files that wait for their turn; the others are a number. */
const QUEUED_SHOWN = 20
/** A finished line stays a moment, so that its end is seen; the file itself then stands in the list. */
const DONE_MS = 2500

export class Uploads {
  readonly element = h('ul', { class: 'uploads', 'aria-label': t('uploads'), 'aria-busy': 'true' })
  readonly picker = h('input', { type: 'file', multiple: true, class: 'sr-only', tabindex: -1, 'aria-hidden': 'true', id: 'file-picker' })
  /** One line about all of them, for where the list is out of sight. */
  readonly summary: HTMLButtonElement
  private readonly more = h('li', { class: 'upload upload-more', role: 'status' })
  private readonly all = new Set<Transfer>()
  private readonly lines = new Map<Transfer, TransferLine>()
  private pumping = false

  constructor(
    private readonly room: string,
    private readonly sender: () => string,
    show: () => void,
  ) {
    this.summary = h('button', { class: 'upload-summary', type: 'button', hidden: true, on: { click: show } })
    this.picker.addEventListener('change', () => {
      this.add([...(this.picker.files ?? [])])
      this.picker.value = ''
    })
    void this.showUnfinished()
  }

  /** For tests. */
  get transfers(): Transfer[] {
    return [...this.all]
  }

  choose(): void {
    this.picker.click()
  }

  add(files: File[]): void {
    for (const file of files) {
      this.all.add(new Transfer(file, this.room, this.sender(), (one) => this.changed(one)))
      this.removeUnfinished(file)
    }
    this.pump()
  }

  /** Accepts files dropped anywhere on the page; `zone` shows where they go. */
  acceptDrops(zone: HTMLElement): void {
    let depth = 0
    const mark = (on: boolean): void => void zone.classList.toggle('dropping', on)
    const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false
    document.addEventListener('dragenter', (event) => carriesFiles(event) && mark(++depth > 0))
    document.addEventListener('dragleave', (event) => carriesFiles(event) && mark(--depth > 0))
    document.addEventListener('dragover', (event) => carriesFiles(event) && event.preventDefault())
    document.addEventListener('drop', (event) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      depth = 0
      mark(false)
      void droppedFiles(event.dataTransfer).then((files) => this.add(files))
    })
  }

  private changed(transfer: Transfer): void {
    this.lines.get(transfer)?.update()
    if (transfer.state === 'done') setTimeout(() => this.remove(transfer), DONE_MS)
    this.pump()
  }

  /** Starts those whose turn it is, and shows who waits. */
  private pump(): void {
    if (this.pumping) return
    this.pumping = true
    let free = AT_ONCE
    const queued: Transfer[] = []
    for (const one of this.all) {
      if (one.state === 'queued') queued.push(one)
      else if (['starting', 'sending', 'waiting'].includes(one.state)) free -= 1
    }
    const next = queued.splice(0, Math.max(0, free))
    for (const one of next) {
      this.showLine(one)
      void one.start()
    }
    for (const one of queued.slice(0, QUEUED_SHOWN)) this.showLine(one)
    this.showRest(Math.max(0, queued.length - QUEUED_SHOWN))
    this.summarize()
    this.pumping = false
  }

  private showLine(transfer: Transfer): void {
    if (this.lines.has(transfer)) return
    const line = new TransferLine(transfer, () => void this.cancel(transfer))
    this.lines.set(transfer, line)
    this.element.insertBefore(line.element, this.more.parentNode === this.element ? this.more : null)
  }

  private showRest(count: number): void {
    if (count > 0) setText(this.more, t('uploadMore', { n: count }))
    if (count > 0 && this.more.parentNode !== this.element) this.element.append(this.more)
    if (count === 0) this.more.remove()
  }

  private summarize(): void {
    let [sent, whole, open] = [0, 0, 0]
    for (const one of this.all) {
      sent += one.sent
      whole += one.file.size
      if (one.state !== 'done') open += 1
    }
    this.summary.hidden = open === 0
    setText(this.summary, t('uploadSummary', { n: open, percent: percent(sent, whole) }))
  }

  private async cancel(transfer: Transfer): Promise<void> {
    this.remove(transfer)
    await transfer.cancel()
  }

  private remove(transfer: Transfer): void {
    this.lines.get(transfer)?.element.remove()
    this.lines.delete(transfer)
    this.all.delete(transfer)
    this.pump()
  }

  private async showUnfinished(): Promise<void> {
    for (const upload of await unfinished(this.room)) {
      const name = upload.metadata.filename ?? '?'
      const item = h(
        'li',
        { class: 'upload unfinished', 'data-file': `${name}/${upload.size}` },
        h('div', { class: 'upload-head' }, icon('file'), h('span', { class: 'upload-name' }, name), h('span', { class: 'upload-numbers' }, size(upload.size ?? 0))),
        h('p', { class: 'upload-state' }, t('uploadUnfinished')),
        h(
          'div',
          { class: 'upload-actions' },
          h('button', { class: 'button small', type: 'button', on: { click: () => this.choose() } }, t('chooseAgain')),
          h('button', { class: 'button small quiet', type: 'button', on: { click: () => void forget(upload).then(() => item.remove()) } }, t('discard')),
        ),
      )
      this.element.append(item)
    }
    setAttr(this.element, 'aria-busy', 'false')
  }

  private removeUnfinished(file: File): void {
    for (const item of this.element.querySelectorAll<HTMLElement>('.unfinished')) {
      if (item.dataset.file === `${file.name}/${file.size}`) item.remove()
    }
  }
}

class TransferLine {
  readonly element: HTMLLIElement
  private readonly bar = h('progress', { class: 'progress', max: 100, value: 0 })
  private readonly numbers = h('span', { class: 'upload-numbers' })
  /** Read out when it changes; the speed beside it changes all the time and is not. */
  private readonly state = h('span', { role: 'status' })
  private readonly speed = h('span', { class: 'upload-speed' })
  private readonly toggle = h('button', { class: 'icon-button small', type: 'button' })
  private readonly cancelButton: HTMLButtonElement

  constructor(
    private readonly transfer: Transfer,
    cancel: () => void,
  ) {
    const { name } = transfer.file
    this.cancelButton = h('button', { class: 'icon-button small', type: 'button', 'aria-label': t('uploadCancel', { name }), title: t('cancel'), on: { click: cancel } }, icon('close'))
    this.toggle.addEventListener('click', () => this.act())
    setAttr(this.bar, 'aria-label', name)
    this.element = h(
      'li',
      { class: 'upload' },
      h('div', { class: 'upload-head' }, icon('file'), h('span', { class: 'upload-name', dir: 'auto' }, name), this.numbers, this.toggle, this.cancelButton),
      this.bar,
      h('p', { class: 'upload-state' }, this.state, this.speed),
    )
    this.update()
  }

  update(): void {
    const { transfer } = this
    const { file, sent, state } = transfer
    this.element.dataset.state = state
    this.bar.value = percent(sent, file.size)
    setText(this.numbers, `${size(sent)} / ${size(file.size)} · ${percent(sent, file.size)} %`)
    setText(this.state, this.words())
    setText(this.speed, state === 'sending' && transfer.speed > 0 ? t('uploadSpeed', { speed: size(Math.round(transfer.speed)) }) : '')
    const next = state === 'paused' ? 'play' : state === 'failed' ? 'retry' : 'pause'
    if (this.toggle.dataset.face !== next) {
      this.toggle.dataset.face = next
      const label = next === 'play' ? t('uploadResume', { name: file.name }) : next === 'retry' ? t('retry') : t('uploadPause', { name: file.name })
      setAttr(this.toggle, 'aria-label', label)
      setAttr(this.toggle, 'title', label)
      this.toggle.replaceChildren(icon(next))
    }
    this.toggle.hidden = state === 'done'
    this.cancelButton.hidden = state === 'done'
  }

  private act(): void {
    if (this.transfer.state === 'paused' || this.transfer.state === 'failed') this.transfer.resume()
    else this.transfer.pause()
  }

  private words(): string {
    const { state, reason, resumedAt } = this.transfer
    switch (state) {
      case 'queued':
        return t('uploadQueued')
      case 'starting':
        return t('uploadStarting')
      case 'sending':
        return resumedAt > 0 ? t('uploadResumed', { from: size(resumedAt) }) : t('uploadSending')
      case 'paused':
        return t('uploadPaused')
      case 'waiting':
        return reason ? t('uploadWaitingWhy', { reason }) : t('uploadWaiting')
      case 'done':
        return t('uploadDone')
      case 'failed':
        return t(this.transfer.sent > 0 ? 'uploadFailed' : 'uploadRefused', { reason: reason || t('serverAway') })
    }
  }
}
