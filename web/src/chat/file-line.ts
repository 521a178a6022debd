// SPDX-License-Identifier: MIT
// A shared file inside the log: name, size, link; small pictures are shown.
import { h } from '../base/dom'
import { size } from '../base/format'
import { t } from '../base/i18n'
import { icon } from '../base/icons'
import { lightbox } from './lightbox'
import type { SharedFile } from './entry'

const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif'])
const PICTURE_MAX_BYTES = 8_000_000

export function fileLine(file: SharedFile): HTMLElement {
  const link = h(
    'a',
    { class: 'file-chip', href: file.url, download: file.name, title: file.sha256 ? `SHA-256 ${file.sha256}` : null },
    icon('file'),
    h('span', { class: 'file-chip-name', dir: 'auto' }, file.name),
    h('span', { class: 'file-chip-size' }, size(file.size)),
    h('span', { class: 'sr-only' }, t('download')),
  )
  const picture = PICTURES.has(file.type) && file.size <= PICTURE_MAX_BYTES && preview(file)
  return h('div', { class: 'line-file' }, picture, link)
}

function preview(file: SharedFile): HTMLElement {
  const image = h('img', { class: 'file-preview', src: file.url, alt: t('pictureOf', { name: file.name }), loading: 'lazy', decoding: 'async' })
  const button = h('button', { class: 'file-preview-button', type: 'button', title: t('openPicture', { name: file.name }), on: { click: () => lightbox(file) } }, image)
  image.addEventListener('error', () => button.remove())
  return button
}
