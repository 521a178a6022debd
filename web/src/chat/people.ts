// SPDX-License-Identifier: MIT
// The count of people in the room, and behind it the list.
import { fill, h, setText } from '../base/dom'
import { hueOf, initial } from '../base/format'
import { t } from '../base/i18n'
import { icon } from '../base/icons'
import type { ChatSession } from './session'

const SHOWN_MAX = 200

export class People {
  readonly button: HTMLButtonElement
  readonly panel: HTMLElement
  private readonly count = h('span', { class: 'people-count' }, '–')
  private readonly label = h('span', { class: 'sr-only' })
  private readonly list = h('ul', { class: 'people-list' })

  constructor(private readonly session: ChatSession) {
    this.panel = h('div', { class: 'people-panel', id: 'people-panel', role: 'region', 'aria-label': t('people'), hidden: true }, this.list)
    this.button = h(
      'button',
      { class: 'people-button', type: 'button', 'aria-expanded': 'false', 'aria-controls': 'people-panel', title: t('people'), on: { click: () => this.toggle(this.panel.hidden) } },
      icon('people'),
      this.count,
      this.label,
    )
    this.panel.addEventListener('keydown', (event) => event.key === 'Escape' && this.toggle(false))
    this.button.addEventListener('keydown', (event) => event.key === 'Escape' && this.toggle(false))
  }

  update(): void {
    const { members } = this.session
    setText(this.count, String(members.count))
    setText(this.label, t('peopleHere', { n: members.count }))
    if (!this.panel.hidden) this.render()
  }

  private toggle(open: boolean): void {
    const hadFocus = this.panel.contains(document.activeElement)
    this.panel.hidden = !open
    this.button.setAttribute('aria-expanded', String(open))
    if (open) this.render()
    else if (hadFocus) this.button.focus()
  }

  private render(): void {
    const all = this.session.members.list()
    const lines = all.slice(0, SHOWN_MAX).map((member) => {
      const name = member.name || t('nameless')
      return h(
        'li',
        { class: 'person' },
        h('span', { class: `avatar small hue-${hueOf(name, 8)}`, 'aria-hidden': 'true' }, initial(name)),
        h('span', { class: 'person-name' }, name),
        member.client === this.session.client && h('span', { class: 'tag' }, t('you')),
      )
    })
    fill(this.list, ...lines, all.length > SHOWN_MAX && h('li', { class: 'person muted' }, t('andMore', { n: all.length - SHOWN_MAX })))
  }
}
