// SPDX-License-Identifier: MIT
// The list of the player's keys, behind its own key.
import { h } from '../base/dom'
import { t } from '../base/i18n'

export function showKeys(): void {
  if (document.querySelector('dialog[open]')) return
  const rows: [string, string][] = [
    ['K', t('playOrStop')],
    ['M', t('soundKey')],
    ['F', t('full')],
    ['T', t('theatre')],
    ['P', t('pip')],
    ['S', t('snapshot')],
    ['?', t('keys')],
  ]
  const dialog = h(
    'dialog',
    { class: 'dialog keys', 'aria-labelledby': 'keys-title' },
    h('h2', { id: 'keys-title' }, t('keys')),
    h('p', { class: 'muted' }, t('keysHint')),
    h('dl', null, ...rows.flatMap(([key, what]) => [h('dt', null, h('kbd', null, key)), h('dd', null, what)])),
    h('button', { class: 'button', type: 'button', on: { click: () => dialog.close() } }, t('close')),
  )
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}
