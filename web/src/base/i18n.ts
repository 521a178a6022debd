// SPDX-License-Identifier: MIT
// The page's words in the browser's language. `?lang=zh` wins over the person's earlier choice, which wins over the browser.
import { DICTIONARY, type Word } from './dictionary'
import { recall, remember } from './prefs'

export type Lang = 'en' | 'zh'
export type Params = Record<string, string | number>

export function pickLang(query: string, chosen: string | null, browser: readonly string[]): Lang {
  for (const tag of [new URLSearchParams(query).get('lang'), chosen, ...browser]) {
    const base = tag?.toLowerCase().split('-')[0]
    if (base === 'zh' || base === 'en') return base
  }
  return 'en'
}

/**
 * `{name}` is replaced by the parameter; `{n:one|many}` by the first form when n is 1, else by the second; `{name.}` by the
 * parameter as the end of a sentence: the mark is left out where it brings its own.
 */
export function format(text: string, params: Params = {}): string {
  return text.replace(/\{(\w+)(?::([^|}]*)\|([^}]*)|([.。]))?\}/g, (_whole, key: string, one?: string, many?: string, mark?: string) => {
    if (one !== undefined) return Number(params[key]) === 1 ? one : (many ?? '')
    const value = String(params[key] ?? '')
    return mark && !/[.!?…。！？]$/.test(value) ? value + mark : value
  })
}

export function word(lang: Lang, key: Word, params?: Params): string {
  return format(DICTIONARY[key][lang === 'en' ? 0 : 1], params)
}

export const lang: Lang =
  typeof document === 'undefined' ? 'en' : pickLang(location.search, recall('lang'), navigator.languages ?? [navigator.language])

export function t(key: Word, params?: Params): string {
  return word(lang, key, params)
}

export function otherLang(): Lang {
  return lang === 'en' ? 'zh' : 'en'
}

export function switchLang(): void {
  remember('lang', otherLang())
  const url = new URL(location.href)
  url.searchParams.delete('lang')
  location.replace(url)
  if (url.href === location.href) location.reload()
}

if (typeof document !== 'undefined') document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en'
