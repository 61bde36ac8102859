/**
 * The whole client of one conversation but its sockets, its clock and its storage: inputs in, effects
 * out. Time comes with every input.
 *
 * It works with a server that knows the base layer only: when no `hello` comes, nothing is replayed, and
 * what was missed is fetched from history.
 */

import { plain } from './errors.js'
import type { Action, HistoryRow, ServerFrame } from './frames.js'
import { Link, type LinkEffect, type LinkSettings } from './link.js'
import { type Change, Outbox } from './outbox.js'
import { People } from './people.js'
import { idOf, later } from './position.js'
import { type Hole, type Row, Timeline } from './timeline.js'
import type { ChatErrorLike, ErrorCode, Gap, OutboxItem, Signal, Snapshot } from './types.js'
import { View } from './view.js'

/** Something happened. */
export type Input =
  | { readonly on: 'connect' }
  | { readonly on: 'close' }
  | { readonly on: 'signal'; readonly signal: Signal }
  | { readonly on: 'token'; readonly token: string }
  | { readonly on: 'no token'; readonly reason: string; readonly isFinal: boolean }
  | { readonly on: 'opened'; readonly socket: number }
  | { readonly on: 'text'; readonly socket: number; readonly text: string }
  | { readonly on: 'closed'; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly on: 'add'; readonly item: OutboxItem }
  | { readonly on: 'kept'; readonly localId: string; readonly isKept: boolean }
  | { readonly on: 'retry'; readonly localId: string }
  | { readonly on: 'remove'; readonly localId: string }
  /** The store was read. */
  | { readonly on: 'stored items'; readonly items: readonly OutboxItem[] }
  /** Whether this tab is the one that sends. */
  | { readonly on: 'leader'; readonly isLeader: boolean }
  /** What another tab did to the outbox. */
  | { readonly on: 'other tab'; readonly change: Change }
  | { readonly on: 'typing'; readonly isTyping: boolean }
  | { readonly on: 'mark read'; readonly upToId: number }
  | { readonly on: 'fetch'; readonly fetch: Fetch }
  | { readonly on: 'time' }

/** Something is to be done. */
export type Effect =
  | LinkEffect
  | { readonly do: 'write'; readonly socket: number; readonly action: Action }
  | { readonly do: 'keep'; readonly change: Change }
  | { readonly do: 'settle'; readonly localId: string; readonly error?: ChatErrorLike }
  | {
      readonly do: 'fetched'
      readonly fetch: Fetch
      readonly rows: readonly HistoryRow[]
      readonly hasMore: boolean
    }
  | { readonly do: 'not fetched'; readonly fetch: Fetch; readonly error: ChatErrorLike }
  | { readonly do: 'tell'; readonly gap: Gap }
  | { readonly do: 'error'; readonly error: ChatErrorLike }
  | { readonly do: 'read'; readonly userId: string; readonly upToId: string }

/** A page that is wanted. */
export interface Fetch {
  readonly id: number
  readonly want: 'newest' | 'older' | 'hole' | 'catch up' | 'again'
  readonly limit: number
  readonly hole?: Hole
  /** Of `catch up`: the newest that is known. Of `again`: the newest that is wanted. */
  readonly from?: number
}

export interface SessionSettings extends LinkSettings {
  readonly conversationId: string
  readonly userId: string
  readonly ackTimeoutMs: number
  readonly maxAttempts: number
  readonly pageSize: number
}

type FrameOf<T extends ServerFrame['type']> = Extract<ServerFrame, { type: T }>

/** A server that is silent for so long after the upgrade will send no `hello`. */
const HELLO_MS = 1_000
const TYPING_EVERY_MS = 3_000
/** Who pressed no key for so long stopped typing. */
const TYPING_IDLE_MS = 5_000
/** Reads within this go together. */
const READ_MS = 250
const READ_AGAIN_MS = 2_000
/** Ids that one `read` names: others show ticks by them. */
const READ_IDS = 100
/** The largest page that a server gives. */
const PAGE_MAX = 100
/** Pages that a base server is asked for to catch up. What is more is left to paging back. */
const CATCH_UP_PAGES = 20
/** What is done in this tab, and therefore kept by it. */
const OWN_DOING: ReadonlySet<Input['on']> = new Set(['add', 'retry', 'remove'])

export class Session {
  readonly link: Link
  readonly timeline: Timeline = new Timeline()
  readonly people: People
  readonly outbox: Outbox = new Outbox()
  private effects: Effect[] = []
  private now = 0
  private isLeader = false
  private readonly settings: SessionSettings
  private readonly random: () => number
  /** By socket: since when it waits for a first frame; gone when the layer is known. */
  private readonly unknown = new Map<number, number>()
  /** The last place in the stream of events that was heard of. */
  private position: string | undefined
  private epoch: number | undefined
  private isDurable = false
  /** Whether more was missed than is replayed, or may have been: after a loss as well. */
  private isBehind = false
  /** The longest content that the server takes, as it said last. */
  contentBytes = 16_384
  frameBytes = 65_536
  /** Between two actions that the server takes over time. */
  private paceMs = 0
  /** What `hello` counted into `unread`. */
  private counted = 0
  private readId = 0
  private unread = 0
  private wantRead = 0
  private readAt: number | undefined
  private fetches: Fetch[] = []
  /** When the next one may be asked for. */
  private fetchAt = 0
  private fetchSentAt: number | undefined
  private fetchIds = 0
  private catchUps = 0
  private typingToldAt: number | undefined
  private typedAt = 0
  private readonly view: View

  constructor(settings: SessionSettings, random: () => number, isOnline: boolean) {
    this.settings = settings
    this.random = random
    this.link = new Link(settings, random, isOnline)
    this.people = new People(settings.userId)
    this.view = new View(settings.userId, this.timeline, this.people, this.outbox)
  }

  handle(input: Input, now: number): Effect[] {
    this.now = now
    this.effects = []
    const before = this.link.writable
    this.take(input)
    this.lookAtTime()
    const socket = this.link.writable
    if (before !== undefined && socket !== before) this.disconnected()
    if (socket !== undefined) this.speak(socket)
    this.pass(OWN_DOING.has(input.on))
    return this.effects
  }

  /** When `time` is wanted, if nothing else happens before. */
  wake(): number {
    const isOpen = this.link.writable !== undefined
    const whenOpen = [
      this.isLeader ? this.outbox.wake() : undefined,
      this.outbox.inFlight && this.outbox.sentAt + this.settings.ackTimeoutMs,
      this.readAt,
      this.fetches.length === 0 ? undefined : (this.fetchTimeout() ?? this.fetchAt),
    ]
    const typing = this.typingToldAt === undefined ? undefined : this.typedAt + TYPING_IDLE_MS
    const hellos = this.epoch === undefined ? [...this.unknown.values()].map((since) => since + HELLO_MS) : []
    const times = [this.link.wake(), this.people.wake(), typing, ...hellos, ...(isOpen ? whenOpen : [])]
    return Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY))
  }

  /** What is resumed after. `undefined`: from now on. */
  get since(): string | undefined {
    return this.position
  }

  fetchId(): number {
    this.fetchIds += 1
    return this.fetchIds
  }

  // --- in ---

  private take(input: Input): void {
    const { link, outbox, now } = this
    switch (input.on) {
      case 'connect':
        return link.connect(now)
      case 'close':
        return link.close()
      case 'signal':
        return link.signal(input.signal, now)
      case 'token':
        return link.gotToken(input.token, now)
      case 'no token':
        return link.gotNoToken(now, input.reason, input.isFinal)
      case 'opened':
        link.opened(input.socket, now)
        if (link.has(input.socket)) this.unknown.set(input.socket, now)
        return
      case 'text':
        if (link.has(input.socket)) this.onText(input.socket, input.text)
        return
      case 'closed':
        return link.closed(input.socket, now, input.code, input.reason)
      case 'add':
        if (input.item.action.kind === 'send') this.typingToldAt = undefined
        return outbox.add(input.item)
      case 'kept':
        return outbox.kept(input.localId, input.isKept)
      case 'retry':
        return outbox.retry(input.localId, now)
      case 'remove':
        return this.giveUp(input.localId)
      case 'stored items':
        outbox.load(input.items)
        if (this.epoch !== undefined) outbox.heardEpoch(this.epoch, this.isDurable)
        return this.recognize(this.timeline.rows())
      case 'leader':
        this.isLeader = input.isLeader
        return
      case 'other tab':
        return this.onOtherTab(input.change)
      case 'typing':
        return this.onTyping(input.isTyping)
      case 'mark read':
        return this.onMarkRead(input.upToId)
      case 'fetch':
        this.fetches.push(input.fetch)
        return
      case 'time':
        return
    }
  }

  private lookAtTime(): void {
    const { link, now } = this
    link.due(now)
    for (const [socket, since] of this.unknown) {
      if (!link.has(socket)) this.unknown.delete(socket)
      // Who said hello once will do so again.
      else if (this.epoch === undefined && now >= since + HELLO_MS) this.settleOnBase(socket)
    }
    this.people.due(now)
    const ack = this.outbox.inFlight && this.outbox.sentAt + this.settings.ackTimeoutMs
    const isLate = [ack, this.fetchTimeout()].some((time) => time !== undefined && time <= now)
    if (isLate) link.drop(link.writable, now, 'no answer in time')
  }

  /** Hands on what parts of this want done. */
  private pass(isOwnDoing: boolean): void {
    this.effects.push(...this.link.effects.splice(0))
    const changes = this.outbox.changes.splice(0)
    // What another tab sends, it also keeps.
    if (!this.isLeader && !isOwnDoing) return
    for (const change of changes) this.effects.push({ do: 'keep', change })
  }

  /** What became of what went out on that socket is not known. */
  private disconnected(): void {
    this.outbox.disconnected()
    if (this.link.writable === undefined) this.people.forget()
    this.typingToldAt = undefined
    this.fetchSentAt = undefined
    this.fetchAt = 0
    if (this.wantRead > this.readId) this.readAt = this.now
  }

  private onOtherTab(change: Change): void {
    if ('put' in change) {
      this.outbox.merge(change.put)
      const { localId, acked, failed } = change.put
      if (acked) this.settle(localId)
      else if (failed) this.settle(localId, failed)
    } else {
      this.outbox.drop(change.gone)
      this.settle(change.gone, change.error)
    }
  }

  private giveUp(localId: string): void {
    const error = plain('cancelled', 'it was taken back')
    this.outbox.remove(localId, error)
    this.settle(localId, error)
  }

  /** Whoever waits for an action is told. */
  private settle(localId: string, error?: ChatErrorLike): void {
    this.effects.push({ do: 'settle', localId, ...(error ? { error } : {}) })
  }

  // --- out ---

  private speak(socket: number): void {
    this.speakTyping(socket)
    if (this.readAt !== undefined && this.now >= this.readAt) this.sendRead(socket)
    this.sendNextFetch(socket)
    const next = this.isLeader ? this.outbox.next(this.now) : undefined
    if (next) this.write(socket, actionOf(next.item, next.isRetry))
  }

  private write(socket: number, action: Action): void {
    this.effects.push({ do: 'write', socket, action })
  }

  private speakTyping(socket: number): void {
    if (this.typingToldAt !== undefined && this.now >= this.typedAt + TYPING_IDLE_MS) {
      this.typingToldAt = undefined
      this.write(socket, { action: 'typing', is_typing: false })
    }
  }

  private onTyping(isTyping: boolean): void {
    const socket = this.link.writable
    // A sign of typing would take the place of a message.
    if (socket === undefined || this.outbox.isPaced) return
    this.typedAt = this.now
    const told = this.typingToldAt
    if (isTyping && (told === undefined || this.now >= told + TYPING_EVERY_MS)) {
      this.typingToldAt = this.now
      this.write(socket, { action: 'typing', is_typing: true })
    } else if (!isTyping && told !== undefined) {
      this.typingToldAt = undefined
      this.write(socket, { action: 'typing', is_typing: false })
    }
  }

  private onMarkRead(upToId: number): void {
    if (upToId <= Math.max(this.wantRead, this.readId)) return
    this.wantRead = upToId
    this.readAt ??= this.now + READ_MS
  }

  private sendRead(socket: number): void {
    this.readAt = undefined
    if (this.wantRead <= this.readId) return
    const unread = this.othersBetween(this.readId, this.wantRead).map((row) => row.id)
    const others = unread.filter((id) => id < this.wantRead).slice(1 - READ_IDS)
    this.write(socket, { action: 'read', message_ids: [String(this.wantRead), ...others.map(String)] })
    this.readAt = this.now + READ_AGAIN_MS
  }

  private sendNextFetch(socket: number): void {
    const fetch = this.fetches[0]
    if (!fetch || this.fetchSentAt !== undefined || this.now < this.fetchAt) return
    this.fetchSentAt = this.now
    this.write(socket, {
      action: 'fetch_messages',
      request_id: fetch.id,
      limit: fetch.limit,
      ...this.anchor(fetch),
    })
  }

  private fetchTimeout(): number | undefined {
    return this.fetchSentAt === undefined ? undefined : this.fetchSentAt + this.settings.ackTimeoutMs
  }

  private anchor(fetch: Fetch): { before_id?: string; after_id?: string; around_id?: string } {
    switch (fetch.want) {
      case 'newest':
        return {}
      case 'older':
        return this.timeline.oldest > 0 ? { before_id: String(this.timeline.oldest) } : {}
      case 'hole':
        return { before_id: String((fetch.hole as Hole).to + 1) }
      case 'catch up':
        return { after_id: String(fetch.from) }
      case 'again':
        return { before_id: String((fetch.from as number) + 1) }
    }
  }

  private want(fetch: Omit<Fetch, 'id'>): void {
    this.fetches.push({ ...fetch, id: this.fetchId() })
  }

  /** After everything that was missed was told, or is about to be fetched. */
  private ready(socket: number): void {
    this.link.live(socket)
    if (this.wantRead > this.readId) this.readAt = this.now
    if (this.timeline.hasMore === undefined && !this.fetches.some((fetch) => fetch.want === 'newest')) {
      this.want({ want: 'newest', limit: this.settings.pageSize })
    }
  }

  private settleOnBase(socket: number): void {
    this.unknown.delete(socket)
    this.epoch = undefined
    this.outbox.noEpochs()
    this.people.forget()
    this.ready(socket)
    if (this.timeline.hasMore !== undefined) {
      this.catchUps = 0
      this.want({ want: 'catch up', limit: PAGE_MAX, from: this.timeline.newest })
      this.timeline.doubt()
      this.readAgain()
    }
  }

  /** Reads the rows that are in doubt, page by page. */
  private readAgain(): void {
    const from = this.timeline.doubtful
    if (from === undefined || this.fetches.some((fetch) => fetch.want === 'again')) return
    this.want({ want: 'again', limit: PAGE_MAX, from })
  }

  // --- frames ---

  private onText(socket: number, text: string): void {
    this.link.heard(socket, this.now)
    const frame = parsed(text)
    if (!frame) return this.link.drop(socket, this.now, 'the server sent no JSON object')
    if (this.unknown.has(socket)) {
      if (frame.type === 'hello') this.unknown.delete(socket)
      else this.settleOnBase(socket)
    }
    this.onFrame(socket, frame)
  }

  private onFrame(socket: number, frame: ServerFrame): void {
    switch (frame.type) {
      case 'hello':
        return this.onHello(frame)
      case 'live':
        this.passed(frame.position)
        this.ready(socket)
        if (this.isBehind) this.timeline.doubt()
        this.isBehind = false
        return this.readAgain()
      case 'chat_message':
        return this.onMessage(frame)
      case 'message.edited':
        return this.onEdited(frame)
      case 'message.deleted':
        return this.onDeleted(frame)
      case 'messages_fetched':
        return this.onPage(frame)
      case 'message.failed':
        return this.onFailed(frame)
      case 'error':
        return this.onError(frame)
      case 'message.status':
        return this.onStatus(frame)
      case 'read':
        return this.onRead(frame)
      case 'receipts':
        return this.onReceipts(frame)
      case 'typing':
        return this.people.typing(frame.user_id, frame.username, frame.is_typing, this.now)
      case 'user_status':
        return this.people.status(frame.user_id, frame.status === 'online')
      case 'presence':
        return this.people.crowd(frame.count, frame.sample)
      case 'stored':
        return this.outbox.stored(frame.epoch, frame.up_to_id)
      case 'resync':
        return this.onResync(socket, frame)
      case 'gap':
        return this.onGap(frame)
      case 'auth_expiring':
        return this.link.tokenExpires()
      case 'reconnect':
        return this.link.changeServer(this.now, frame.after_ms)
      case 'access_revoked':
        return this.tellError(plain('access_denied', frame.reason))
      // Signs of life, `auth_ok`, and what is of a later version of the protocol.
      default:
        return
    }
  }

  private onHello(hello: FrameOf<'hello'>): void {
    // What is replayed is what survived.
    const isAnother = this.epoch !== undefined && hello.epoch !== this.epoch
    if (isAnother && this.position !== undefined) this.rewind(this.position)
    this.link.heartbeats(hello.heartbeat_ms)
    this.contentBytes = hello.limits.content_bytes
    this.frameBytes = hello.limits.frame_bytes
    this.paceMs = 1_000 / (hello.limits.actions_per_second || Number.POSITIVE_INFINITY)
    this.isDurable = hello.durable
    this.isBehind = !hello.resumed && this.position !== undefined
    this.epoch = hello.epoch
    this.outbox.heardEpoch(hello.epoch, hello.durable)
    if (hello.durable) this.outbox.stored(hello.epoch, hello.stored_id)
    // Those who are here are told anew.
    this.people.forget()
    const readId = idOf(hello.read_id)
    this.readId = isAnother ? readId : Math.max(this.readId, readId)
    this.unread = hello.unread
    this.counted = idOf(hello.head_id)
  }

  /** An event of the stream of events was told. */
  private passed(position: string | undefined, localId?: string | null): void {
    // An answer to a repeat may name a place that the stream did not come to yet.
    if (typeof localId === 'string' && this.outbox.isUnderWay(localId)) return
    if (typeof position === 'string') this.position = later(this.position, position)
  }

  private onMessage({ message, position }: FrameOf<'chat_message'>): void {
    const { id, sender_id, local_id } = message
    const isNew = this.timeline.get(idOf(id)) === undefined
    const isOwn = sender_id === this.settings.userId
    this.passed(position, isOwn ? local_id : null)
    this.people.spoke(sender_id)
    this.timeline.message(message, position ?? id)
    if (isOwn) this.acked(local_id, position ?? id)
    else if (isNew && idOf(id) > Math.max(this.counted, this.readId)) this.unread += 1
  }

  private onEdited(frame: FrameOf<'message.edited'>): void {
    const { message_id, content, edited_by, position, local_id } = frame
    const isOwn = edited_by === this.settings.userId
    this.passed(position, isOwn ? local_id : null)
    this.timeline.edited(idOf(message_id), { content, editedBy: edited_by, position })
    if (isOwn) this.acked(local_id, position)
  }

  private onDeleted(frame: FrameOf<'message.deleted'>): void {
    const { message_id, deleted_by, position, local_id } = frame
    const isOwn = deleted_by === this.settings.userId
    this.passed(position, isOwn ? local_id : null)
    this.timeline.deleted(idOf(message_id), position)
    if (isOwn) this.acked(local_id, position)
    const done = this.outbox.targetDeleted(message_id, position)
    if (done !== undefined) this.settle(done)
  }

  private acked(localId: string | null | undefined, position: string): void {
    if (typeof localId === 'string' && this.outbox.acked(localId, position)) this.settle(localId)
  }

  /** Own messages among what was read: the log has them, whoever sent them. */
  private recognize(rows: readonly Row[]): void {
    for (const row of rows) {
      if (row.senderId === this.settings.userId && row.localId !== undefined)
        this.acked(row.localId, String(row.id))
    }
  }

  private onPage(page: FrameOf<'messages_fetched'>): void {
    const fetch = this.fetches[0]
    if (!fetch || this.fetchSentAt === undefined || (page.request_id ?? fetch.id) !== fetch.id) return
    this.fetches.shift()
    this.fetchSentAt = undefined
    this.timeline.page(page.messages)
    this.recognize(page.messages.flatMap((row) => this.timeline.get(idOf(row.id)) ?? []))
    const lowest = idOf(page.messages.at(-1)?.id ?? '0')
    if (fetch.want === 'newest' || fetch.want === 'older') this.timeline.hasMore = page.has_more
    if (fetch.hole) this.timeline.filled(fetch.hole, page.has_more ? lowest : 0)
    if (fetch.want === 'catch up') this.onCaughtUp(page)
    if (fetch.want === 'again') {
      this.timeline.settled(page.has_more ? lowest : 0, fetch.from as number)
      if (lowest === this.timeline.oldest) this.timeline.hasMore = page.has_more
      this.readAgain()
    }
    this.effects.push({ do: 'fetched', fetch, rows: page.messages, hasMore: page.has_more })
  }

  private onCaughtUp({ has_more, messages }: FrameOf<'messages_fetched'>): void {
    this.catchUps += 1
    if (!has_more) return
    const from = idOf(messages[0]?.id ?? '0')
    if (this.catchUps < CATCH_UP_PAGES) return this.want({ want: 'catch up', limit: PAGE_MAX, from })
    this.timeline.clear()
    this.want({ want: 'newest', limit: this.settings.pageSize })
  }

  private onFailed(frame: FrameOf<'message.failed'>): void {
    const localId = frame.local_id ?? this.outbox.inFlight?.localId
    if (localId !== undefined) this.refused(localId, frame)
  }

  private onError(frame: FrameOf<'error'>): void {
    const error = plain(frame.code, frame.error, frame.retryable)
    switch (frame.action) {
      case 'fetch_messages':
        return this.onFetchRefused(frame)
      case 'read':
        this.readAt = frame.retryable ? this.now + READ_AGAIN_MS : undefined
        if (!frame.retryable) this.wantRead = this.readId
        return
      case 'edit_message':
      case 'delete_message': {
        const localId = this.outbox.inFlight?.localId
        if (localId !== undefined) this.refused(localId, frame)
        return
      }
      default:
        return this.tellError(error)
    }
  }

  private onFetchRefused(frame: FrameOf<'error'>): void {
    const fetch = this.fetches[0]
    if (!fetch || this.fetchSentAt === undefined) return
    this.fetchSentAt = undefined
    if (frame.retryable) {
      this.fetchAt = this.now + (frame.retry_after_ms ?? 1_000)
      return
    }
    this.fetches.shift()
    this.effects.push({ do: 'not fetched', fetch, error: plain(frame.code, frame.error) })
  }

  private refused(
    localId: string,
    frame: { code: ErrorCode; error: string; retryable: boolean; retry_after_ms?: number | null },
  ): void {
    if (!this.outbox.find(localId)) return
    const error = plain(frame.code, frame.error, frame.retryable)
    if (frame.retryable) {
      const waitMs = frame.retry_after_ms ?? 500 + this.random() * 500
      const retryAt = this.now + waitMs
      if (frame.code === 'rate_limited') return this.outbox.tooSoon(retryAt, Math.max(waitMs, this.paceMs))
      if (!this.outbox.refusedForNow(localId, error, retryAt, this.settings.maxAttempts)) return
    } else {
      this.outbox.refused(localId, error)
    }
    this.settle(localId, error)
  }

  private onStatus(frame: FrameOf<'message.status'>): void {
    const id = idOf(frame.message_id)
    if (frame.status === 'read') this.people.read = Math.max(this.people.read, id)
    if (frame.status !== 'failed' && frame.status !== 'sent')
      this.people.delivered = Math.max(this.people.delivered, id)
    if (frame.status === 'failed') this.onLost(id)
  }

  /** The base layer's word for a message that the log lost. */
  private onLost(id: number): void {
    const row = this.timeline.get(id)
    if (!row || row.localId === undefined || row.senderId !== this.settings.userId) return
    this.timeline.remove(id)
    // Every tab hears of it: the one that sends also keeps.
    if (!this.isLeader) return
    this.outbox.add({
      localId: row.localId,
      order: this.outbox.nextOrder(this.now),
      action: { kind: 'send', content: row.content },
      createdAt: row.sentAt,
      lostId: String(id),
    })
  }

  private onRead(frame: FrameOf<'read'>): void {
    const upTo = Math.max(0, ...frame.message_ids.map(idOf))
    if (frame.user_id === this.settings.userId) return this.readUpTo(upTo)
    if (this.people.reads(frame.user_id, upTo)) {
      this.effects.push({ do: 'read', userId: frame.user_id, upToId: String(upTo) })
    }
  }

  private onReceipts(frame: FrameOf<'receipts'>): void {
    for (const [userId, upToId] of Object.entries(frame.read)) {
      if (userId === this.settings.userId) this.readUpTo(idOf(upToId))
      else if (this.people.reads(userId, idOf(upToId))) this.effects.push({ do: 'read', userId, upToId })
    }
    for (const [userId, upToId] of Object.entries(frame.delivered)) this.people.receives(userId, upToId)
  }

  private readUpTo(id: number): void {
    if (id <= this.readId) return
    const passed = this.othersBetween(this.readId, id).length
    this.readId = id
    if (this.wantRead <= id) this.readAt = undefined
    const isAllHere =
      this.timeline.hasMore === false || (this.timeline.oldest > 0 && this.timeline.oldest <= id)
    this.unread = isAllHere
      ? this.othersBetween(id, Number.POSITIVE_INFINITY).length
      : Math.max(0, this.unread - passed)
  }

  private othersBetween(above: number, upTo: number): Row[] {
    const isOthers = (row: Row) => row.id > above && row.id <= upTo && row.senderId !== this.settings.userId
    return this.timeline.rows().filter(isOthers)
  }

  private onResync(socket: number, frame: FrameOf<'resync'>): void {
    // The `hello` just before this one told how things are in this epoch.
    const isToldAlready = frame.epoch === this.epoch
    this.epoch = frame.epoch
    // What the tab that sends heard in this epoch already is not told to this one again.
    if (this.isLeader) this.outbox.resync(frame.epoch)
    else this.outbox.heardEpoch(frame.epoch, this.isDurable)
    const gone = this.rewind(frame.lost_after)
    // A `hello` just before this one did not count them any more.
    if (socket === this.link.writable) this.unread -= gone.filter((row) => this.isUnread(row)).length
    if (!isToldAlready) this.readId = Math.min(this.readId, idOf(frame.lost_after))
  }

  /** Forgets what was told after a place. Returns the messages that are gone. */
  private rewind(position: string): Row[] {
    this.position = position
    const gone = this.timeline.rewind(position)
    this.people.rewind(idOf(position))
    this.wantRead = Math.min(this.wantRead, idOf(position))
    this.readAgain()
    return gone
  }

  private isUnread(row: Row): boolean {
    return row.id > this.readId && row.senderId !== this.settings.userId
  }

  private onGap(frame: FrameOf<'gap'>): void {
    this.timeline.miss(idOf(frame.from), idOf(frame.to))
    this.effects.push({ do: 'tell', gap: { from: frame.from, to: frame.to } })
  }

  private tellError(error: ChatErrorLike): void {
    this.effects.push({ do: 'error', error })
  }

  // --- what is shown ---

  snapshot(): Snapshot {
    const { settings, link, people, timeline } = this
    return {
      conversationId: settings.conversationId,
      userId: settings.userId,
      connection: link.status,
      messages: this.view.messages(),
      gaps: timeline.holes.map(({ from, to }) => ({ from: String(from), to: String(to) })),
      hasMore: timeline.hasMore ?? false,
      isFetching: this.fetches.some((fetch) => fetch.want !== 'again'),
      typing: people.typingNow(),
      online: people.online(),
      ...(people.onlineCount === undefined ? {} : { onlineCount: people.onlineCount }),
      readBy: new Map([...people.readBy].map(([userId, id]) => [userId, String(id)])),
      readId: String(this.readId),
      unread: this.unread,
      queued: this.outbox.unacked().filter((item) => !item.failed).length,
    }
  }
}

/** A frame, if it is one at all. */
function parsed(text: string): ServerFrame | undefined {
  try {
    const frame: unknown = JSON.parse(text)
    return typeof frame === 'object' && frame !== null ? (frame as ServerFrame) : undefined
  } catch {
    return undefined
  }
}

function actionOf({ localId, action, traceparent }: OutboxItem, isRetry: boolean): Action {
  const trace = traceparent === undefined ? {} : { traceparent }
  switch (action.kind) {
    case 'send':
      return {
        action: 'send_message',
        content: action.content,
        local_id: localId,
        ...(isRetry ? { retry: true } : {}),
        ...trace,
      }
    case 'edit':
      return {
        action: 'edit_message',
        message_id: action.id,
        content: action.content,
        local_id: localId,
        ...trace,
      }
    case 'delete':
      return { action: 'delete_message', message_id: action.id, local_id: localId, ...trace }
  }
}
