/** One message. */

import type { Message } from '@parlance/client'
import { button, element, type IconName, icon, unseen } from './dom.js'
import { short, TICKS, timeOf } from './words.js'

/** What can be done with a message. */
export interface RowActions {
  nameOf(userId: string): string
  openMenu(message: Message, opener: HTMLElement): void
  retry(message: Message): void
  discard(message: Message): void
}

/** What the messages around it decide. */
export interface Place {
  /** The one before is of the same author and not much older. */
  readonly isContinued: boolean
  /** Whose name stands above it; missing where it is plain who speaks. */
  readonly author?: string
}

export class Row {
  readonly node = element('article', { class: 'message' })
  message: Message | undefined
  private place = ''
  /** Stays the same, so that a menu that stands beside it has somewhere to return to. */
  private readonly more = button({ class: 'more', 'aria-haspopup': 'menu', tabindex: '-1' }, [icon('more')], () => {
    if (this.message) this.actions.openMenu(this.message, this.more)
  })

  constructor(private readonly actions: RowActions) {}

  /** Shows it. Does nothing when nothing changed. */
  update(message: Message, place: Place): void {
    const key = JSON.stringify(place)
    if (message === this.message && key === this.place) return
    const hadFocus = this.more === document.activeElement
    this.message = message
    this.place = key
    this.node.className = classes(message, place)
    if (message.id !== undefined) this.node.dataset.id = message.id
    this.more.setAttribute('aria-label', `Edit or delete “${short(message.content)}”`)
    this.node.replaceChildren(
      ...(place.author === undefined ? [] : [element('div', { class: 'author' }, element('bdi', {}, place.author))]),
      this.bubble(message),
      ...(message.state === 'failed' ? [this.failure(message)] : []),
    )
    if (hadFocus) this.more.focus()
  }

  /** The one button of all messages that is reached by the tabulator: the arrows go on from there. */
  setReachable(isReachable: boolean): void {
    this.more.tabIndex = isReachable ? 0 : -1
  }

  focus(): void {
    this.more.focus()
  }

  private bubble(message: Message): HTMLElement {
    const who = message.isOwn ? 'You: ' : `${this.actions.nameOf(message.senderId)}: `
    const content = message.isDeleted
      ? element('p', { class: 'content' }, icon('bin'), 'This message was deleted')
      : element('p', { class: 'content', dir: 'auto' }, message.content)
    const bubble = element('div', { class: 'bubble' }, unseen(who), content, meta(message))
    if (canChange(message)) bubble.append(this.more)
    return bubble
  }

  private failure(message: Message): HTMLElement {
    const why = message.error?.message ?? 'It was refused'
    return element(
      'div',
      { class: 'failure' },
      element('p', {}, icon('failed'), ' Not sent: ', element('bdi', {}, why)),
      button({ class: 'small' }, ['Try again'], () => this.actions.retry(message)),
      button({ class: 'small quiet' }, ['Discard'], () => this.actions.discard(message)),
    )
  }
}

export function canChange(message: Message): boolean {
  return message.isOwn && message.id !== undefined && !message.isDeleted
}

function classes(message: Message, place: Place): string {
  return [
    'message',
    message.isOwn ? 'own' : 'other',
    ...(place.isContinued ? ['continued'] : []),
    ...(message.isDeleted ? ['deleted'] : []),
    ...(message.state === 'failed' ? ['failed'] : []),
  ].join(' ')
}

function meta(message: Message): HTMLElement {
  const made = element('div', { class: 'meta' })
  if (message.isEdited && !message.isDeleted) made.append(element('span', {}, 'edited'), ' ')
  made.append(element('time', { datetime: message.sentAt }, timeOf(message.sentAt)))
  if (message.isOwn && (!message.isDeleted || message.pending)) made.append(tick(message))
  return made
}

/** How far an own message came. */
function tick(message: Message): HTMLElement {
  const state = message.pending ? 'queued' : (message.state ?? 'sent')
  const names: Readonly<Record<typeof state, IconName>> = {
    queued: 'clock',
    sending: 'clock',
    sent: 'tick',
    delivered: 'ticks',
    read: 'ticks',
    failed: 'failed',
  }
  const words = TICKS[state]
  return element('span', { class: `tick ${state}`, title: words }, icon(names[state]), unseen(words))
}
