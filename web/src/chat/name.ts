// SPDX-License-Identifier: MIT
// The person's name: made up at the first visit so that nobody is held up at the door, kept, and changed in a small dialog.
import { h, setText } from '../base/dom'
import { t } from '../base/i18n'
import { recall, remember } from '../base/prefs'

const MAX_CHARACTERS = 40

export function cleanName(raw: string): string {
  const flat = raw.replace(/\s+/g, ' ').trim()
  return Array.from(flat).slice(0, MAX_CHARACTERS).join('')
}

export function myName(): string {
  const kept = cleanName(recall('name') ?? '')
  if (kept) return kept
  const made = t('guest', { n: 1000 + Math.floor(Math.random() * 9000) })
  remember('name', made)
  return made
}

export class NameChip {
  readonly element: HTMLButtonElement
  private readonly label = h('b')
  private readonly input = h('input', { class: 'field', id: 'name-input', maxlength: MAX_CHARACTERS, required: true, autocomplete: 'nickname', spellcheck: 'false' })
  private readonly dialog: HTMLDialogElement

  constructor(
    private name: string,
    private readonly renamed: (name: string) => void,
  ) {
    setText(this.label, name)
    this.element = h('button', { class: 'name-chip', type: 'button', 'aria-haspopup': 'dialog', title: t('changeName'), on: { click: () => this.open() } }, h('span', null, t('youAre')), ' ', this.label)
    this.dialog = h(
      'dialog',
      { class: 'dialog', 'aria-labelledby': 'name-title' },
      h(
        'form',
        { method: 'dialog', on: { submit: () => this.submit() } },
        h('h2', { id: 'name-title' }, t('nameTitle')),
        h('p', { class: 'muted' }, t('nameHint')),
        h('label', { class: 'sr-only', for: 'name-input' }, t('nameLabel')),
        this.input,
        h('div', { class: 'dialog-actions' }, h('button', { class: 'button', type: 'button', on: { click: () => this.dialog.close() } }, t('cancel')), h('button', { class: 'button primary', type: 'submit' }, t('save'))),
      ),
    )
    document.body.append(this.dialog)
  }

  private open(): void {
    this.input.value = this.name
    this.dialog.showModal()
    this.input.select()
  }

  private submit(): void {
    const name = cleanName(this.input.value)
    if (!name || name === this.name) return
    this.name = name
    remember('name', name)
    setText(this.label, name)
    this.renamed(name)
  }
}
