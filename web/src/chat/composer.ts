// SPDX-License-Identifier: MIT
// Where a message is written: Enter sends, Shift+Enter makes a line, an input method's Enter only picks its word.
import { h } from '../base/dom'
import { t } from '../base/i18n'
import { icon } from '../base/icons'

const MAX_CHARACTERS = 4000

export interface ComposerActions {
  say(text: string): void
  attach(): void
}

export class Composer {
  readonly element: HTMLFormElement
  private readonly box: HTMLTextAreaElement

  constructor(actions: ComposerActions, nameChip: HTMLElement) {
    this.box = h('textarea', { class: 'composer-box', id: 'composer', rows: 1, maxlength: MAX_CHARACTERS, placeholder: t('writePlaceholder'), 'aria-label': t('writeLabel'), enterkeyhint: 'send', autocomplete: 'off' })
    this.box.addEventListener('input', () => this.grow())
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
