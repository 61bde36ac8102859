/** Making elements. Text goes in as text nodes only: nothing that anybody wrote is ever read as markup. */

type Child = Node | string

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

/** A button that is no part of a form. */
export function button(attributes: Record<string, string>, children: Child[], onClick: () => void): HTMLButtonElement {
  const made = element('button', { type: 'button', ...attributes }, ...children)
  made.addEventListener('click', onClick)
  return made
}

/** For those who listen only. */
export function unseen(text: string): HTMLElement {
  return element('span', { class: 'unseen' }, text)
}

const PATHS = {
  clock: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 3v3.2l2 1.3',
  tick: 'm3 8.5 3.3 3.5L13 4.5',
  ticks: 'm1 8.5 3.3 3.5L11 4.5M8.2 11.5l.6.5 6.7-7.5',
  failed: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 3v3.8M8 11v.1',
  live: 'M2.5 6.5a8 8 0 0 1 11 0M4.7 9a4.8 4.8 0 0 1 6.6 0M8 12v.1',
  cut: 'M2.5 6.5a8 8 0 0 1 11 0M8 12v.1M3 13 13 3',
  bolt: 'M9 2 4 9h4l-1 5 5-7H8l1-5Z',
  retry: 'M13 8a5 5 0 1 1-1.5-3.5M13 2.5V5h-2.5',
  off: 'M5.2 4a5.5 5.5 0 1 0 5.6 0M8 2v6',
  send: 'M2.5 8h10M8.5 3.5 13 8l-4.5 4.5',
  down: 'M8 3v10M3.5 8.5 8 13l4.5-4.5',
  up: 'M8 13V3M3.5 7.5 8 3l4.5 4.5',
  more: 'M3.5 8h.1M8 8h.1M12.5 8h.1',
  close: 'm4 4 8 8M12 4l-8 8',
  edit: 'm3 13 .6-2.7L11 3l2 2-7.3 7.4L3 13Z',
  bin: 'M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9',
} as const

export type IconName = keyof typeof PATHS

const SVG = 'http://www.w3.org/2000/svg'

/** A drawing that says nothing by itself: words stand beside it. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('viewBox', '0 0 16 16')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', PATHS[name])
  svg.append(path)
  return svg
}
