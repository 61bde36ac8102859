/**
 * The messages of a phone: rows by key, with the lines between them, at the end unless somebody scrolled
 * away from there.
 */

import type { Gap, Message, Snapshot } from '@parlance/client'
import { button, element, icon } from './dom.js'
import { canChange, type Place, Row, type RowActions } from './row.js'
import { count, dayOf, dayWords } from './words.js'

/** What the log asks for. */
export interface LogActions extends RowActions {
  /** The user of the other phone: their name stands above all of it already. */
  readonly peer: string
  loadOlder(): void
  loadGap(gap: Gap): void
  /** This message, and all before it, are in view. */
  seen(id: string): void
}

/** Older messages are fetched when less than this is left above. */
const AHEAD_PX = 300
/** As near to the end as this is at the end. */
const END_PX = 48
/** What was read already and stays in view above what is new. */
const ABOVE_LINE_PX = 90
/** Messages of one author that are less apart stand together. */
const TOGETHER_MS = 5 * 60_000

export class Log {
  readonly node: HTMLElement
  private readonly list = element('div', {
    class: 'log',
    role: 'log',
    'aria-live': 'polite',
    'aria-label': 'Messages',
    tabindex: '0',
  })
  private readonly toEnd: HTMLButtonElement
  private readonly top = element('p', { class: 'top-note' })
  private readonly typing = element('div', { class: 'typing', 'aria-hidden': 'true' }, dot(), dot(), dot())
  private readonly rows = new Map<string, Row>()
  private readonly lines = new Map<string, HTMLElement>()
  private readonly views: IntersectionObserver
  private readonly inView = new Set<string>()
  private shown: Snapshot | undefined
  private isAtEnd = true
  private reachable: string | undefined
  /** The line above what is new stands behind this id. */
  private unreadAfter: number | undefined
  /** What is unread was said while this user was away: they begin to read there, not at the end. */
  private isComingBack = false
  private lastOwn: string | undefined

  constructor(private readonly actions: LogActions) {
    this.toEnd = button({ class: 'to-end', hidden: '' }, [], () => this.scrollToEnd())
    this.node = element('div', { class: 'log-frame' }, this.list, this.toEnd)
    this.list.addEventListener('scroll', () => this.scrolled(), { passive: true })
    this.list.addEventListener('keydown', (event) => this.moveBetween(event))
    this.list.addEventListener('focusin', (event) => this.reached(event))
    // In view of the whole page: a phone may itself be scrolled away.
    this.views = new IntersectionObserver((entries) => this.viewed(entries))
    new ResizeObserver(() => this.resized()).observe(this.list)
    document.addEventListener('visibilitychange', () => this.tellSeen())
  }

  update(snapshot: Snapshot): void {
    const before = this.shown
    this.shown = snapshot
    this.placeUnread(before, snapshot)
    const own = snapshot.messages.findLast((message) => message.isOwn)?.key
    const wrote = own !== this.lastOwn && before !== undefined && own === snapshot.messages.at(-1)?.key
    this.lastOwn = own
    const anchor = this.anchor()
    // What was there before is not news to anybody who listens.
    this.list.setAttribute('aria-live', before?.isFetching || before === undefined ? 'off' : 'polite')
    this.arrange(this.wanted(snapshot))
    this.keepReachable()
    const isBack = this.isComingBack && this.scrollToUnread(snapshot)
    if (wrote) this.scrollToEnd()
    else if (this.isAtEnd && !isBack) this.scrollToEnd()
    else if (anchor && !isBack) this.list.scrollTop += bottomOf(anchor.node) - anchor.bottom
    // When it is live, and there is something to read, that has been done.
    if (snapshot.connection.state === 'connected' && snapshot.messages.length > 0) this.isComingBack = false
    this.showToEnd()
    this.loadIfNear()
  }

  // --- what stands where ---

  private wanted(snapshot: Snapshot): HTMLElement[] {
    const { messages, gaps } = snapshot
    const now = new Date()
    const nodes: HTMLElement[] = [this.topNote(snapshot)]
    const openGaps = [...gaps]
    let before: Message | undefined
    let isLineDrawn = false
    const used = new Set<string>()
    const line = (key: string, make: () => HTMLElement) => {
      used.add(key)
      const made = this.lines.get(key) ?? make()
      this.lines.set(key, made)
      nodes.push(made)
    }
    for (const message of messages) {
      while (openGaps[0] && (message.id === undefined || Number(openGaps[0].from) < Number(message.id))) {
        const gap = openGaps.shift() as Gap
        line(`gap ${gap.from} ${gap.to}`, () => this.gapRow(gap))
      }
      const day = dayOf(message.sentAt)
      const isNewDay = before === undefined || dayOf(before.sentAt) !== day
      if (isNewDay) line(`day ${day} ${dayWords(day, now)}`, () => dayLine(dayWords(day, now)))
      const isNew = this.unreadAfter !== undefined && !message.isOwn && Number(message.id) > this.unreadAfter
      if (isNew && !isLineDrawn) {
        isLineDrawn = true
        line('unread', unreadLine)
      }
      const row = this.rows.get(message.key) ?? new Row(this.actions)
      this.rows.set(message.key, row)
      row.update(message, this.place(message, nodes.at(-1) === this.nodeOf(before) ? before : undefined))
      if (!row.node.isConnected) this.views.observe(row.node)
      nodes.push(row.node)
      before = message
    }
    for (const gap of openGaps) line(`gap ${gap.from} ${gap.to}`, () => this.gapRow(gap))
    for (const key of this.lines.keys()) if (!used.has(key)) this.lines.delete(key)
    this.dropRows(messages)
    if (snapshot.typing.length > 0) nodes.push(this.typing)
    return nodes
  }

  private nodeOf(message: Message | undefined): HTMLElement | undefined {
    return message && this.rows.get(message.key)?.node
  }

  private dropRows(messages: readonly Message[]): void {
    const keys = new Set(messages.map((message) => message.key))
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue
      this.views.unobserve(row.node)
      this.inView.delete(row.node.dataset.id ?? '')
      this.rows.delete(key)
    }
  }

  private place(message: Message, before: Message | undefined): Place {
    const isContinued =
      before?.senderId === message.senderId && Date.parse(message.sentAt) - Date.parse(before.sentAt) < TOGETHER_MS
    const isPlain = message.isOwn || message.senderId === this.actions.peer || isContinued
    return isPlain ? { isContinued } : { isContinued, author: this.actions.nameOf(message.senderId) }
  }

  private topNote({ hasMore, messages, connection }: Snapshot): HTMLElement {
    const isKnown = connection.state === 'connected' || messages.length > 0
    const words = !isKnown ? '' : hasMore ? 'Older messages…' : messages.length > 0 ? 'This is where it begins' : ''
    if (this.top.textContent !== words) this.top.textContent = words
    return this.top
  }

  private gapRow(gap: Gap): HTMLElement {
    const missing = Number(gap.to) - Number(gap.from) + 1
    const words = missing < 1_000_000 ? count(missing, 'message is', 'messages are') : 'Messages are'
    return button({ class: 'gap' }, [icon('down'), ` ${words} not loaded. Load`], () => this.actions.loadGap(gap))
  }

  /** Moves what has to be moved, and nothing else: what has the focus keeps it. */
  private arrange(nodes: readonly HTMLElement[]): void {
    const wanted = new Set<Node>(nodes)
    for (const child of [...this.list.children]) if (!wanted.has(child)) child.remove()
    nodes.forEach((node, at) => {
      const here = this.list.children[at]
      if (here !== node) this.list.insertBefore(node, here ?? null)
    })
  }

  // --- what is new ---

  private placeUnread(before: Snapshot | undefined, now: Snapshot): void {
    const wrote = now.messages.at(-1)?.isOwn && now.messages.at(-1)?.id === undefined
    if (wrote) this.unreadAfter = undefined
    const isFirst = (before?.unread ?? 0) === 0 && now.unread > 0
    const isAway = !this.isAtEnd || document.visibilityState === 'hidden' || this.list.clientHeight === 0
    const isBack = before?.connection.state !== 'connected'
    if (isFirst && (isAway || isBack)) this.unreadAfter = Number(now.readId)
    if (isFirst && isBack) this.isComingBack = true
  }

  private viewed(entries: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const { id } = (target as HTMLElement).dataset
      if (id === undefined) continue
      if (isIntersecting) this.inView.add(id)
      else this.inView.delete(id)
    }
    this.tellSeen()
  }

  private tellSeen(): void {
    if (document.visibilityState !== 'visible' || this.inView.size === 0) return
    this.actions.seen(String(Math.max(...[...this.inView].map(Number))))
  }

  // --- scrolling ---

  /** The first message in view, and where its lower edge is: a name above it may come and go. */
  private anchor(): { node: HTMLElement; bottom: number } | undefined {
    const { scrollTop } = this.list
    const rows = [...this.list.querySelectorAll<HTMLElement>('.message')]
    const node = rows.find((row) => bottomOf(row) > scrollTop)
    return node && { node, bottom: bottomOf(node) }
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.list
    if (clientHeight === 0) return
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < END_PX
    this.showToEnd()
    this.loadIfNear()
  }

  private resized(): void {
    if (this.isAtEnd) this.scrollToEnd()
    this.loadIfNear()
  }

  private scrollToEnd(): void {
    this.isAtEnd = true
    this.list.scrollTop = this.list.scrollHeight
    this.showToEnd()
  }

  /** Returns whether the line is there: what is above what was fetched is not known. */
  private scrollToUnread({ messages, hasMore }: Snapshot): boolean {
    const line = this.lines.get('unread')
    const isPlaced = !hasMore || Number(messages[0]?.id) <= (this.unreadAfter ?? 0)
    if (!line || !isPlaced) return false
    this.list.scrollTop = line.offsetTop - ABOVE_LINE_PX
    this.scrolled()
    return true
  }

  private showToEnd(): void {
    const unread = this.shown?.unread ?? 0
    this.toEnd.hidden = this.isAtEnd
    const words = unread > 0 ? count(unread, 'new message', 'new messages') : 'Newest'
    if (this.toEnd.textContent !== words) this.toEnd.replaceChildren(icon('down'), words)
  }

  private loadIfNear(): void {
    const { shown } = this
    if (!shown?.hasMore || shown.isFetching || shown.connection.state !== 'connected') return
    if (this.list.clientHeight > 0 && this.list.scrollTop < AHEAD_PX) this.actions.loadOlder()
  }

  // --- by keyboard ---

  private changeable(): [string, Row][] {
    const messages = (this.shown?.messages ?? []).filter(canChange)
    return messages.flatMap(({ key }): [string, Row][] => {
      const row = this.rows.get(key)
      return row ? [[key, row]] : []
    })
  }

  private keepReachable(): void {
    const all = this.changeable()
    const isInside = this.list.contains(document.activeElement)
    if (!isInside || !all.some(([key]) => key === this.reachable)) this.reachable = all.at(-1)?.[0]
    for (const [key, row] of all) row.setReachable(key === this.reachable)
  }

  private reached(event: FocusEvent): void {
    const found = this.changeable().find(([, row]) => row.node.contains(event.target as Node))
    if (!found) return
    this.reachable = found[0]
    this.keepReachable()
  }

  private moveBetween(event: KeyboardEvent): void {
    const step = event.key === 'ArrowUp' ? -1 : event.key === 'ArrowDown' ? 1 : 0
    if (step === 0 || event.defaultPrevented) return
    const all = this.changeable()
    const at = all.findIndex(([, row]) => row.node.contains(document.activeElement))
    const next = at < 0 ? undefined : all[at + step]
    if (!next) return
    event.preventDefault()
    next[1].focus()
  }
}

function bottomOf(node: HTMLElement): number {
  return node.offsetTop + node.offsetHeight
}

function dot(): HTMLElement {
  return element('span')
}

function dayLine(words: string): HTMLElement {
  return element('div', { class: 'day' }, element('span', {}, words))
}

function unreadLine(): HTMLElement {
  return element('div', { class: 'unread' }, element('span', {}, 'New messages'))
}
