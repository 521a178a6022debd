// SPDX-License-Identifier: MIT
// Tabs that exist only on a narrow screen; on a wide one both panels are plain sections side by side.
import { h } from '../base/dom'

export interface Tab {
  id: string
  label: string
  panel: HTMLElement
}

const narrow = window.matchMedia('(max-width: 900px)')

export interface Tabs {
  bar: HTMLElement
  show(id: string): void
}

export function tabs(all: Tab[]): Tabs {
  let current = 0
  const buttons = all.map(({ id, label }, index) =>
    h('button', { class: 'tab', type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': id, on: { click: () => select(index) } }, label),
  )
  const bar = h('div', { class: 'tabs', role: 'tablist' }, ...buttons)

  function select(index: number): void {
    current = (index + all.length) % all.length
    layout()
  }

  function layout(): void {
    all.forEach(({ id, panel }, index) => {
      const chosen = index === current
      panel.classList.toggle('tab-hidden', narrow.matches && !chosen)
      if (narrow.matches) {
        panel.setAttribute('role', 'tabpanel')
        panel.setAttribute('aria-labelledby', `tab-${id}`)
      } else {
        panel.removeAttribute('role')
        panel.setAttribute('aria-labelledby', `${id}-title`)
      }
      buttons[index]?.setAttribute('aria-selected', String(chosen))
      buttons[index]?.setAttribute('tabindex', chosen ? '0' : '-1')
    })
  }

  bar.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    select(current + step)
    buttons[current]?.focus()
  })
  narrow.addEventListener('change', layout)
  layout()
  return { bar, show: (id) => select(all.findIndex((tab) => tab.id === id)) }
}
