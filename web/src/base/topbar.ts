// SPDX-License-Identifier: MIT
// The bar on top of both pages: the way back, the place, theme and language.
import { h, setAttr } from './dom'
import { otherLang, switchLang, t } from './i18n'
import { icon } from './icons'
import { onTheme, theme, toggleTheme } from './theme'

function mark(): SVGSVGElement {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('viewBox', '0 0 32 32')
  svg.setAttribute('class', 'mark')
  svg.setAttribute('aria-hidden', 'true')
  for (const [name, d] of [
    ['mark-body', 'M9 8h14a4 4 0 0 1 4 4v7a4 4 0 0 1-4 4h-7l-5 4v-4H9a4 4 0 0 1-4-4v-7a4 4 0 0 1 4-4Z'],
    ['mark-play', 'M13.6 12.2v6.6a.7.7 0 0 0 1.07.6l5.2-3.3a.7.7 0 0 0 0-1.2l-5.2-3.3a.7.7 0 0 0-1.07.6Z'],
  ] as const) {
    const path = document.createElementNS(ns, 'path')
    path.setAttribute('class', name)
    path.setAttribute('d', d)
    svg.append(path)
  }
  return svg
}

function themeButton(): HTMLButtonElement {
  const button = h('button', { class: 'icon-button', type: 'button', on: { click: toggleTheme } })
  const show = (): void => {
    const dark = theme() === 'dark'
    button.replaceChildren(icon(dark ? 'sun' : 'moon'))
    setAttr(button, 'aria-label', dark ? t('toLight') : t('toDark'))
    setAttr(button, 'title', dark ? t('toLight') : t('toDark'))
  }
  onTheme(show)
  show()
  return button
}

export function topbar(skipTo: { id: string; text: string }, ...middle: (Node | false)[]): DocumentFragment {
  const fragment = document.createDocumentFragment()
  fragment.append(
    h('a', { class: 'skip', href: `#${skipTo.id}` }, skipTo.text),
    h(
      'header',
      { class: 'topbar' },
      h('a', { class: 'brand', href: '/', title: t('toLobby') }, mark(), h('span', { class: 'brand-name' }, 'Watchroom')),
      ...middle,
      h('span', { class: 'spacer' }),
      h(
        'button',
        { class: 'button quiet lang', type: 'button', lang: otherLang() === 'zh' ? 'zh-CN' : 'en', on: { click: switchLang } },
        icon('globe'),
        otherLang() === 'zh' ? '中文' : 'English',
      ),
      themeButton(),
    ),
  )
  return fragment
}
