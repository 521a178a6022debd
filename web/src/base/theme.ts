// SPDX-License-Identifier: MIT
// Dark or light: the system's choice until the person makes one. Only <html data-theme> changes; the rest is CSS.
import { recall, remember } from './prefs'

export type Theme = 'dark' | 'light'

const system = window.matchMedia('(prefers-color-scheme: light)')
const listeners = new Set<() => void>()

export function theme(): Theme {
  const chosen = recall('theme')
  if (chosen === 'dark' || chosen === 'light') return chosen
  return system.matches ? 'light' : 'dark'
}

export function toggleTheme(): void {
  remember('theme', theme() === 'dark' ? 'light' : 'dark')
  apply()
}

export function onTheme(listener: () => void): void {
  listeners.add(listener)
}

function apply(): void {
  document.documentElement.dataset.theme = theme()
  for (const listener of listeners) listener()
}

system.addEventListener('change', apply)
window.addEventListener('storage', (event) => event.key === 'watchroom.theme' && apply())
apply()
