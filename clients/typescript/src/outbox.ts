/**
 * What this user did and the server is not yet known to have for good. Data only.
 *
 * One action is under way at a time: then no refusal can change their order. An action keeps its
 * `localId` however often it is sent, so that sending again is always safe. After its acknowledgement it
 * is kept until the store has it, because a log may lose its end.
 */

import { idOf, isStored } from './position.js'
import type { ChatErrorLike, OutboxItem } from './types.js'

/** What has to be written to the store, in this order. */
export type Change = { readonly put: OutboxItem } | { readonly gone: string; readonly error?: ChatErrorLike }

export class Outbox {
  readonly changes: Change[] = []
  /** Since when what is under way is. */
  sentAt = 0
  private items: OutboxItem[] = []
  private underWay: string | undefined
  /** Those that may have reached the server. */
  private readonly sent = new Set<string>()
  /** Those that the store does not have: it is being written, or could not be. */
  private readonly unkept = new Map<string, 'waits' | 'failed'>()
  private tries = 0
  private notBefore = 0
  /** Between two actions, since the server found them too fast: until there is nothing left to send. */
  private paceMs = 0
  private pacedUntil = 0
  /** The epoch that was heard of; `undefined`: acknowledged is all that will be told. */
  private epoch: number | undefined
  private last = 0

  all(): readonly OutboxItem[] {
    return this.items
  }

  find(localId: string): OutboxItem | undefined {
    return this.items.find((item) => item.localId === localId)
  }

  /** Those that have no acknowledgement, failed ones too. */
  unacked(): readonly OutboxItem[] {
    return this.items.filter((item) => !item.acked)
  }

  isUnderWay(localId: string): boolean {
    return this.underWay === localId
  }

  wasSent(localId: string): boolean {
    return this.sent.has(localId)
  }

  get inFlight(): OutboxItem | undefined {
    return this.underWay === undefined ? undefined : this.find(this.underWay)
  }

  /** The order of what is added next. */
  nextOrder(now: number): number {
    return Math.max(now, this.last + 1)
  }

  /** Adds an action of this tab. It is not sent before it is `kept`. */
  add(item: OutboxItem): void {
    this.unkept.set(item.localId, 'waits')
    this.insert(item)
    this.changes.push({ put: item })
  }

  /** The store has it, or could not take it: it may be sent in either case. */
  kept(localId: string, isKept: boolean): void {
    if (isKept) this.unkept.delete(localId)
    else this.unkept.set(localId, 'failed')
  }

  /** Whether it may not be sent before it is kept. */
  waitsForStore(localId: string): boolean {
    return this.unkept.get(localId) === 'waits'
  }

  /** Another tab added or changed an action. */
  merge(item: OutboxItem): void {
    if (this.underWay !== item.localId) this.insert(item)
  }

  /** Takes what the store has: this is what there is, but for what it was not told yet. */
  load(stored: readonly OutboxItem[]): void {
    const before = this.items
    this.items = before.filter((item) => this.unkept.has(item.localId) || this.underWay === item.localId)
    for (const item of stored) {
      if (this.find(item.localId)) continue
      this.insert(item)
      // Nobody knows how far whoever stored it came.
      if (!before.some((one) => one.localId === item.localId)) this.sent.add(item.localId)
    }
  }

  /** What is to be sent now; it is under way from then on. */
  next(now: number): { item: OutboxItem; isRetry: boolean } | undefined {
    const item = this.waiting()
    if (!item) this.paceMs = 0
    if (!item || now < this.wake()) return undefined
    const isRetry = this.sent.has(item.localId)
    this.underWay = item.localId
    this.sentAt = now
    this.pacedUntil = now + this.paceMs
    this.sent.add(item.localId)
    return { item, isRetry }
  }

  wake(): number {
    const item = this.underWay === undefined ? this.waiting() : undefined
    if (!item || this.waitsForStore(item.localId)) return Number.POSITIVE_INFINITY
    return Math.max(this.notBefore, this.pacedUntil)
  }

  /**
   * What is under way came too soon: the server takes one action in so many milliseconds. That is no try
   * that failed, however often it happens: what the server would take later is not given up.
   */
  tooSoon(retryAt: number, paceMs: number): void {
    this.paceMs = Math.max(this.paceMs, paceMs)
    this.underWay = undefined
    this.notBefore = retryAt
  }

  /** Whether there is something to send that the server's pace holds back. */
  get isPaced(): boolean {
    return this.paceMs > 0 && this.waiting() !== undefined
  }

  /** The connection is gone: what became of the action that was under way is not known. */
  disconnected(): void {
    this.underWay = undefined
    this.notBefore = 0
    this.paceMs = 0
    this.pacedUntil = 0
  }

  /** The event of an action came. Returns whether that was news. */
  acked(localId: string, position: string): boolean {
    const item = this.find(localId)
    if (!item) return false
    this.settle(localId)
    if (item.action.kind === 'send') this.renumber(item, String(idOf(position)))
    const isNews = !item.acked
    if (this.epoch === undefined) this.remove(localId)
    else if ((item.acked?.epoch ?? -1) < this.epoch) {
      const { failed: _, ...rest } = item
      this.replace({ ...rest, acked: { position, epoch: this.epoch } })
    }
    return isNews
  }

  /** Somebody deleted a message: a deletion of it has nothing left to do. Returns its `localId`. */
  targetDeleted(id: string, position: string): string | undefined {
    const item = this.unacked().find((one) => one.action.kind === 'delete' && one.action.id === id)
    if (item) this.acked(item.localId, position)
    return item?.localId
  }

  /** It was refused for good, or often enough. */
  refused(localId: string, error: ChatErrorLike): void {
    const item = this.find(localId)
    if (!item) return
    this.settle(localId)
    if (item.action.kind === 'send') this.replace({ ...item, failed: error })
    else this.remove(localId, error)
  }

  /** It was refused for now. Returns whether it is given up. */
  refusedForNow(localId: string, error: ChatErrorLike, retryAt: number, maxTries: number): boolean {
    this.tries += 1
    if (this.tries >= maxTries) {
      this.refused(localId, error)
      return true
    }
    this.underWay = undefined
    this.notBefore = retryAt
    return false
  }

  /** A failed one is sent again, behind all others. */
  retry(localId: string, now: number): void {
    const item = this.find(localId)
    if (!item?.failed) return
    const { failed: _, ...rest } = item
    this.replace({ ...rest, order: this.nextOrder(now) })
  }

  /** Takes one away: it is done, or `error` says why not. */
  remove(localId: string, error?: ChatErrorLike): void {
    this.drop(localId)
    this.changes.push({ gone: localId, ...(error ? { error } : {}) })
  }

  /** Another tab took it away. */
  drop(localId: string): void {
    this.settle(localId)
    this.items = this.items.filter((item) => item.localId !== localId)
    this.sent.delete(localId)
    this.unkept.delete(localId)
  }

  /** Hears of an epoch. What was acknowledged under another one counts no more. */
  heardEpoch(epoch: number, isDurable: boolean): void {
    this.epoch = isDurable ? epoch : undefined
    for (const item of this.items.filter((one) => one.acked)) {
      if (!isDurable) this.remove(item.localId)
      else if (item.acked?.epoch !== epoch) this.unack(item)
    }
  }

  /**
   * The server tells nothing of epochs, nor what is stored. What was acknowledged by one that did is sent
   * again: that does no harm, and being forgotten might.
   */
  noEpochs(): void {
    for (const item of this.items) if (item.acked) this.unack(item)
    this.epoch = undefined
  }

  /** The log may have lost its end. */
  resync(epoch: number): void {
    if (this.epoch === undefined) return
    this.epoch = epoch
    for (const item of this.items) if (item.acked) this.unack(item)
  }

  /** The store of an epoch has everything up to a message. */
  stored(epoch: number, upToId: string): void {
    for (const { acked, localId } of this.items) {
      if (acked?.epoch === epoch && isStored(acked.position, upToId)) this.remove(localId)
    }
  }

  // --- inside ---

  private waiting(): OutboxItem | undefined {
    return this.items.find((item) => !item.acked && !item.failed)
  }

  private settle(localId: string): void {
    if (this.underWay !== localId) return
    this.underWay = undefined
    this.tries = 0
    this.notBefore = 0
  }

  private unack(item: OutboxItem): void {
    const { acked, ...rest } = item
    const lostId = acked && item.action.kind === 'send' ? { lostId: String(idOf(acked.position)) } : {}
    this.replace({ ...rest, ...lostId })
  }

  /** A message that was lost got another id: what was done to it is done to that. */
  private renumber(item: OutboxItem, id: string): void {
    const lost = item.lostId
    if (lost === undefined || lost === id) return
    for (const other of this.unacked()) {
      if (other.action.kind !== 'send' && other.action.id === lost) {
        this.replace({ ...other, action: { ...other.action, id } })
      }
    }
  }

  private replace(item: OutboxItem): void {
    this.insert(item)
    this.changes.push({ put: item })
  }

  private insert(item: OutboxItem): void {
    this.last = Math.max(this.last, item.order)
    const others = this.items.filter((one) => one.localId !== item.localId)
    this.items = [...others, item].sort(inOrder)
  }
}

function inOrder(a: OutboxItem, b: OutboxItem): number {
  return a.order - b.order || (a.localId < b.localId ? -1 : 1)
}
