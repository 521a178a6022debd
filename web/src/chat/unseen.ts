// SPDX-License-Identifier: MIT
// Lines that came and that nobody can have seen: their number stands in the page's title, where a tab in the background shows it.

export class Unseen {
  count = 0

  constructor(private readonly changed: (count: number) => void) {}

  more(lines: number): void {
    if (lines <= 0) return
    this.count += lines
    this.changed(this.count)
  }

  none(): void {
    if (this.count === 0) return
    this.count = 0
    this.changed(0)
  }
}

/** "(3) hall · Watchroom": at most two digits, a tab is narrow. */
export function titleWith(count: number, title: string): string {
  return count === 0 ? title : `(${count > 99 ? '99+' : count}) ${title}`
}
