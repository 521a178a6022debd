// SPDX-License-Identifier: MIT
// A shared picture as large as the window. The browser's own dialog: Escape closes it, the focus goes back where it was.
import { h } from '../base/dom'
import { t } from '../base/i18n'
import { icon } from '../base/icons'
import type { SharedFile } from './entry'

export function lightbox(file: SharedFile): void {
  const dialog = h(
    'dialog',
    { class: 'lightbox', 'aria-label': t('pictureOf', { name: file.name }) },
    h('img', { src: file.url, alt: t('pictureOf', { name: file.name }) }),
    h(
      'div',
      { class: 'lightbox-bar' },
      h('span', { class: 'lightbox-name', dir: 'auto' }, file.name),
      h('a', { class: 'icon-button', href: file.url, download: file.name, 'aria-label': t('downloadName', { name: file.name }), title: t('download') }, icon('download')),
      h('button', { class: 'icon-button', type: 'button', 'aria-label': t('close'), title: t('close'), on: { click: () => dialog.close() } }, icon('close')),
    ),
  )
  // A click beside the picture is one on the dialog itself.
  dialog.addEventListener('click', (event) => (event.target as Element).closest('.lightbox-bar') || dialog.close())
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}
