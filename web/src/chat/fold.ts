// SPDX-License-Identifier: MIT
// A very long message takes a few lines of the log until somebody wants the whole.
import { h, setAttr, setText } from '../base/dom'
import { t } from '../base/i18n'

const CHARACTERS = 1200
const LINES = 16

export function isLong(text: string): boolean {
  if (text.length > CHARACTERS) return true
  let lines = 1
  for (let at = text.indexOf('\n'); at >= 0 && lines <= LINES; at = text.indexOf('\n', at + 1)) lines += 1
  return lines > LINES
}

/** The paragraph as it is, or folded, with a button. */
export function folded(text: string, paragraph: HTMLElement): HTMLElement {
  if (!isLong(text)) return paragraph
  const button = h('button', { class: 'link', type: 'button', 'aria-expanded': 'false' }, t('showAll'))
  paragraph.classList.add('folded')
  button.addEventListener('click', () => {
    const closed = paragraph.classList.toggle('folded')
    setAttr(button, 'aria-expanded', closed ? 'false' : 'true')
    setText(button, closed ? t('showAll') : t('showLess'))
    if (closed) paragraph.scrollIntoView({ block: 'nearest' })
  })
  return h('div', null, paragraph, button)
}
