/** The upper end of a phone: who one talks with, and how the connection is. */

import type { Connection, Snapshot } from '@parlance/client'
import { element, type IconName, icon } from './dom.js'
import { count, STATES, waiting } from './words.js'

const ICONS: Readonly<Record<Connection['state'], IconName>> = {
  idle: 'off',
  connecting: 'retry',
  connected: 'live',
  waiting: 'cut',
  offline: 'cut',
  closed: 'off',
}

export class Head {
  readonly node: HTMLElement
  private readonly dot = element('span', { class: 'dot' })
  private readonly doing = element('p', { class: 'doing' })
  private readonly pill = element('p', { class: 'pill', role: 'status' })
  private readonly detail = element('p', { class: 'detail', hidden: '' })
  private shown: Snapshot | undefined
  private timer: ReturnType<typeof setInterval> | undefined

  constructor(
    private readonly peer: { readonly id: string; readonly name: string },
    private readonly nameOf: (userId: string) => string,
  ) {
    const avatar = element(
      'span',
      { class: `avatar ${peer.id}`, 'aria-hidden': 'true' },
      peer.name.slice(0, 1),
      this.dot,
    )
    const name = element('h1', {}, element('bdi', {}, peer.name))
    const who = element('div', { class: 'who' }, name, this.doing)
    this.node = element(
      'header',
      { class: 'head' },
      element('div', { class: 'bar' }, avatar, who, this.pill),
      this.detail,
    )
  }

  update(snapshot: Snapshot): void {
    const before = this.shown
    this.shown = snapshot
    if (before?.connection !== snapshot.connection) this.showState(snapshot.connection)
    this.showDetail()
    const isHere = snapshot.online.includes(this.peer.id) && snapshot.connection.state === 'connected'
    this.dot.classList.toggle('here', isHere)
    this.doing.replaceChildren(...this.words(snapshot, isHere))
  }

  private words({ typing, online, connection, onlineCount }: Snapshot, isHere: boolean): (Node | string)[] {
    if (connection.state !== 'connected') return ['\u00a0']
    const [typist] = typing
    if (typing.length > 1) return [`${typing.length} are typing…`]
    if (typist?.userId === this.peer.id) return ['typing…']
    if (typist) return [element('bdi', {}, typist.username || typist.userId), ' is typing…']
    const others = online.filter((id) => id !== this.peer.id)
    const self = isHere ? 'online' : 'offline'
    if (onlineCount !== undefined) return [`${self} · ${onlineCount} are here`]
    if (others.length === 0) return [self]
    if (others.length > 1) return [`${self} · ${count(others.length, 'other is', 'others are')} here`]
    return [`${self} · `, element('bdi', {}, this.nameOf(others[0] ?? '')), ' is here']
  }

  private showState({ state, retryAt }: Connection): void {
    this.pill.className = `pill ${state}`
    this.pill.replaceChildren(icon(ICONS[state]), STATES[state])
    clearInterval(this.timer)
    if (retryAt !== undefined) this.timer = setInterval(() => this.showDetail(), 1000)
  }

  /** What that means for who writes now. */
  private showDetail(): void {
    if (!this.shown) return
    const { connection, queued } = this.shown
    const words = detail(connection, queued)
    this.detail.hidden = words === ''
    if (this.detail.textContent !== words) this.detail.textContent = words
  }
}

function detail({ state, retryAt, code, reason }: Connection, queued: number): string {
  switch (state) {
    case 'connected':
    case 'idle':
      return ''
    case 'connecting':
      return queued > 0 ? waiting(queued) : ''
    case 'waiting': {
      const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1000))
      return `Trying again ${seconds === 0 ? 'now' : `in ${seconds} s`}. ${waiting(queued)}`
    }
    case 'offline':
      return `No network. ${waiting(queued)}`
    case 'closed':
      return `Closed${code === undefined ? '' : ` (${code})`}${reason ? `: ${reason}` : ''}. Load the page again.`
  }
}
