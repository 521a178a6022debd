// SPDX-License-Identifier: MIT
// The page's icons: one 24-unit stroke path each, drawn in the text's colour, silent for screen readers.

const PATHS = {
  arrow: 'M5 12h14M13 6l6 6-6 6',
  back: 'M19 12H5M11 6l-6 6 6 6',
  people: 'M16 20v-1.5a3.5 3.5 0 0 0-3.5-3.5h-5A3.5 3.5 0 0 0 4 18.5V20M10 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M20 20v-1.5a3.5 3.5 0 0 0-2.6-3.4M15.5 4.7a3.5 3.5 0 0 1 0 6.6',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6',
  sun: 'M12 16.500a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9M12 2v2M12 20v2M4 12H2M22 12h-2M5.6 5.6 4.2 4.200M19.8 19.800l-1.4-1.400M18.4 5.600l1.4-1.400M4.2 19.800l1.4-1.4',
  moon: 'M20 14.200A8.2 8.2 0 0 1 9.8 4 8.2 8.2 0 1 0 20 14.2',
  globe: 'M12 21.500a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19M2.5 12h19M12 2.500c2.6 2.7 3.9 5.9 3.9 9.500S14.6 18.8 12 21.500C9.4 18.8 8.1 15.6 8.1 12S9.4 5.2 12 2.5',
  play: 'M7 4.500v15l12-7.500z',
  pause: 'M8 5v14M16 5v14',
  sound: 'M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM15.5 9a4 4 0 0 1 0 6M18 6.500a7.5 7.5 0 0 1 0 11',
  muted: 'M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM16 9.500l5 5M21 9.500l-5 5',
  camera: 'M4 8.500A1.5 1.5 0 0 1 5.5 7H8l1.5-2.500h5L16 7h2.500A1.5 1.5 0 0 1 20 8.500v9a1.5 1.5 0 0 1-1.5 1.500h-13A1.5 1.5 0 0 1 4 17.500zM12 16a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4',
  expand: 'M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5',
  shrink: 'M4 9h5V4M20 9h-5V4M4 15h5v5M20 15h-5v5',
  pip: 'M4 6.500A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.500V11M11 19H5.5A1.5 1.5 0 0 1 4 17.500v-11M14 14h7v5.500h-7z',
  theatre: 'M3 7.500A1.5 1.5 0 0 1 4.5 6h15A1.5 1.5 0 0 1 21 7.500v9a1.5 1.5 0 0 1-1.5 1.500h-15A1.5 1.5 0 0 1 3 16.500zM15 6v12',
  keys: 'M9.5 9.500a2.5 2.5 0 1 1 3.5 2.300c-.7.300-1 .800-1 1.700M12 16.800v.2M12 21.500a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19',
  list: 'M4 6.500h16M4 12h16M4 17.500h16',
  tiles: 'M4 4h6.500v6.500H4zM13.5 4H20v6.500h-6.500zM4 13.500h6.500V20H4zM13.5 13.500H20V20h-6.500z',
  send: 'M4.5 12 3.5 4.5 21 12 3.5 19.500zM4.5 12H11',
  attach: 'M20 11.5 12.2 19.200a4.7 4.7 0 0 1-6.7-6.600l8.3-8.300a3.2 3.2 0 0 1 4.5 4.500l-8.2 8.200a1.6 1.6 0 0 1-2.3-2.300l7.4-7.3',
  file: 'M13.5 3H7a1.5 1.5 0 0 0-1.5 1.500v15A1.5 1.5 0 0 0 7 21h10a1.5 1.5 0 0 0 1.5-1.500V8zM13.5 3v5h5',
  upload: 'M12 16V4.500M7 9l5-4.500L17 9M4.5 16v2.500A1.5 1.5 0 0 0 6 20h12a1.5 1.5 0 0 0 1.5-1.500V16',
  download: 'M12 4v11.500M7 11l5 4.5 5-4.500M4.5 19.500h15',
  close: 'M6 6l12 12M18 6 6 18',
  retry: 'M4 12a8 8 0 0 1 13.7-5.600L20 8.500M20 4v4.500h-4.500M20 12a8 8 0 0 1-13.7 5.600L4 15.500M4 20v-4.500h4.5',
  down: 'M12 5v14M6 13l6 6 6-6',
  video: 'M4 7.500A1.5 1.5 0 0 1 5.5 6h9A1.5 1.5 0 0 1 16 7.500v9a1.5 1.5 0 0 1-1.5 1.500h-9A1.5 1.5 0 0 1 4 16.500zM16 10.5 21 8v8l-5-2.5',
  chat: 'M5.5 5h13A1.5 1.5 0 0 1 20 6.500v9a1.5 1.5 0 0 1-1.5 1.500H12l-4.5 3.500V17h-2A1.5 1.5 0 0 1 4 15.500v-9A1.5 1.5 0 0 1 5.5 5',
  check: 'M5 12.5 10 17.5 19.5 7',
  warn: 'M12 4 2.5 20h19zM12 10v4.500M12 17.300v.2',
} as const

export type IconName = keyof typeof PATHS

export function icon(name: IconName): SVGSVGElement {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  svg.setAttribute('focusable', 'false')
  const path = document.createElementNS(ns, 'path')
  path.setAttribute('d', PATHS[name])
  svg.append(path)
  return svg
}
