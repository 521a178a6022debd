// SPDX-License-Identifier: MIT
// Where a message is written: Enter sends, Shift+Enter makes a line, an input method's Enter only picks its word.
import { h } from '../base/dom'
import { t } from '../base/i18n'
import { icon } from '../base/icons'

const MAX_CHARACTERS = 4000

export interface ComposerActions {
  say(text: string): void
  attach(): void
  paste(files: File[]): void
}

export class Composer {
  readonly element: HTMLFormElement
  private readonly box: HTMLTextAreaElement

  constructor(actions: ComposerActions, nameChip: HTMLElement) {
    this.box = h('textarea', { class: 'composer-box', id: 'composer', rows: 1, maxlength: MAX_CHARACTERS, placeholder: t('writePlaceholder'), 'aria-label': t('writeLabel'), dir: 'auto', enterkeyhint: 'send', autocomplete: 'off' })
    this.box.addEventListener('input', () => this.grow())
    this.box.addEventListener('paste', (event) => {
      const files = pasted(event.clipboardData, new Date())
      if (files.length === 0) return
      event.preventDefault()
      actions.paste(files)
    })
    this.box.addEventListener('keydown', (event) => {
      // 229 is what Safari reports for the Enter that ends a composition.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
      event.preventDefault()
      this.send(actions)
    })
    this.element = h(
      'form',
      { class: 'composer' },
      h('div', { class: 'composer-name' }, nameChip),
      h(
        'div',
        { class: 'composer-row' },
        h('button', { class: 'icon-button', type: 'button', 'aria-label': t('attach'), title: t('attach'), on: { click: () => actions.attach() } }, icon('attach')),
        this.box,
        h('button', { class: 'icon-button send', type: 'submit', 'aria-label': t('send'), title: t('send') }, icon('send')),
      ),
    )
    this.element.addEventListener('submit', (event) => {
      event.preventDefault()
      this.send(actions)
    })
  }

  focus(): void {
    this.box.focus()
  }

  private send(actions: ComposerActions): void {
    const text = this.box.value.trim()
    if (!text) return
    this.box.value = ''
    this.grow()
    actions.say(text)
    this.box.focus()
  }

  private grow(): void {
    this.box.style.height = 'auto'
    this.box.style.height = `${Math.min(this.box.scrollHeight, 140)}px`
  }
}

/** Files of the clipboard, unless it also has the words that were copied (a spreadsheet's cells come with their picture). */
export function pasted(clipboard: DataTransfer | null, now: Date): File[] {
  if (!clipboard || clipboard.types.includes('text/plain')) return []
  return [...clipboard.files].map((file) => (GENERIC_NAME.test(file.name) ? new File([file], pastedName(file, now), { type: file.type, lastModified: now.getTime() }) : file))
}

/** What browsers call a picture that has no name: a room with ten of them could not tell them apart. */
const GENERIC_NAME = /^(image|clipboard|unknown)?(\.[a-z0-9]+)?$/i

function pastedName(file: File, now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const stamp = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`
  return `${t('pastedName')} ${stamp}.${file.type.split('/')[1]?.replace('jpeg', 'jpg').replace(/\+.*$/, '') || 'bin'}`
}
