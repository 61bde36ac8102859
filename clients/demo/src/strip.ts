/** The frames of one phone, as they go over its socket. */

import { button, element, icon } from './dom.js'
import type { Direction } from './wire.js'
import { count } from './words.js'

export interface Frame {
  readonly direction: Direction
  readonly text: string
  readonly at: number
}

/** Older ones go, both those that are shown and those that wait while it is paused. */
export const MOST_ROWS = 200
/** As near to the end as this is at the end. */
const END_PX = 24

export class Strip {
  readonly node: HTMLElement
  private readonly list: HTMLElement
  private readonly pause: HTMLButtonElement
  private held: Frame[] | undefined

  constructor(owner: string) {
    this.list = element('div', { class: 'frames', tabindex: '0', role: 'group', 'aria-label': `Frames of ${owner}` })
    this.pause = button({ class: 'text' }, ['Pause'], () => this.toggle())
    const clear = button({ class: 'text' }, ['Clear'], () => this.list.replaceChildren())
    const title = element('h3', {}, 'Frames')
    this.node = element(
      'section',
      { class: 'strip' },
      element('div', { class: 'strip-bar' }, title, this.pause, clear),
      this.list,
    )
  }

  add(frame: Frame): void {
    if (this.held) {
      this.held.push(frame)
      if (this.held.length > MOST_ROWS) this.held.shift()
      this.pause.textContent = `Resume (${count(this.held.length, 'frame', 'frames')})`
      return
    }
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < END_PX
    this.list.append(row(frame))
    while (this.list.childElementCount > MOST_ROWS) this.list.firstElementChild?.remove()
    if (isAtEnd) this.list.scrollTop = this.list.scrollHeight
  }

  private toggle(): void {
    const { held } = this
    this.held = held ? undefined : []
    this.pause.textContent = held ? 'Pause' : 'Resume'
    for (const frame of held ?? []) this.add(frame)
  }
}

function row({ direction, text, at }: Frame): HTMLElement {
  const words = direction === 'out' ? 'sent' : 'received'
  const arrow = element(
    'span',
    { class: `arrow ${direction}`, title: words },
    icon(direction === 'out' ? 'up' : 'down'),
  )
  arrow.append(element('span', { class: 'unseen' }, words))
  const summary = element(
    'summary',
    {},
    arrow,
    element('time', {}, clock(new Date(at))),
    element('b', {}, kindOf(text)),
    element('span', { class: 'preview', dir: 'ltr' }, text.slice(0, 160)),
  )
  const whole = element('pre', { dir: 'ltr' })
  const made = element('details', { class: 'frame' }, summary, whole)
  made.addEventListener('toggle', () => {
    if (made.open && whole.textContent === '') whole.textContent = pretty(text)
  })
  return made
}

/** What the frame calls itself. */
export function kindOf(text: string): string {
  try {
    const frame = JSON.parse(text)
    const kind = frame?.type ?? frame?.action
    return typeof kind === 'string' ? kind : 'unknown'
  } catch {
    return 'no JSON'
  }
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

function clock(date: Date): string {
  const two = (number: number) => String(number).padStart(2, '0')
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
