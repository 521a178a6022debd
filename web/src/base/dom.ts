// SPDX-License-Identifier: MIT
// Making elements. Text always goes in as text nodes, so nothing that a person wrote can become markup; styles go in by
// class, so the page needs no inline styles.

export type Child = Node | string | number | null | undefined | false

export interface Props {
  class?: string
  on?: Record<string, (event: never) => void>
  [attribute: string]: unknown
}

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props | null = null, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue
    if (key === 'on') {
      for (const [type, handler] of Object.entries(value as object)) element.addEventListener(type, handler as EventListener)
    } else if (key === 'class') element.className = String(value)
    else element.setAttribute(key, value === true ? '' : String(value))
  }
  append(element, children)
  return element
}

export function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue
    parent.append(child instanceof Node ? child : String(child))
  }
}

export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren()
  append(parent, children)
}

/** Set text only when it differs: live regions announce every change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

export function setAttr(element: Element, name: string, value: string | boolean): void {
  if (value === false) element.removeAttribute(name)
  else if (element.getAttribute(name) !== String(value === true ? '' : value)) element.setAttribute(name, value === true ? '' : value)
}
