/** One conversation: the session with real sockets, a clock, a store, and the other tabs around it. */

import { ChatError } from './errors.js'
import type { Action } from './frames.js'
import type { Change } from './outbox.js'
import { idOf } from './position.js'
import { reusing } from './reuse.js'
import { type Effect, type Fetch, type Input, Session } from './session.js'
import { Tabs, type Told } from './tabs.js'
import type {
  ActionOptions,
  ClientOptions,
  ConversationEvents,
  Environment,
  Fetched,
  FetchOptions,
  Message,
  OutboxAction,
  OutboxItem,
  OutboxStore,
  Sent,
  Snapshot,
  WebSocketLike,
} from './types.js'

type Listener = (value: never) => void

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: ChatError) => void
}

/** A conversation and this user's connection to it. Made by `ChatClient.conversation`. */
export class Conversation implements AsyncDisposable {
  readonly id: string
  private readonly options: ClientOptions
  private readonly world: Environment
  private readonly store: OutboxStore
  private readonly scope: string
  private readonly session: Session
  private readonly tabs: Tabs
  private readonly onClosed: () => void
  private readonly sockets = new Map<number, WebSocketLike>()
  private readonly listeners = new Map<keyof ConversationEvents, Set<Listener>>()
  private readonly subscribers = new Set<() => void>()
  private readonly accepted = new Map<string, Waiting<void> & { readonly promise: Promise<void> }>()
  private readonly pages = new Map<number, Waiting<Fetched>>()
  private readonly unwatch: () => void
  private fetchingToken: AbortController | undefined
  private cancelTimer: (() => void) | undefined
  private timerAt = Number.POSITIVE_INFINITY
  private shown: Snapshot
  private isClosed = false
  /** Writes to the store that are not finished. */
  private readonly writing = new Set<Promise<void>>()
  /** How many changes of the store were begun here or heard of. */
  private changes = 0

  /** @internal */
  constructor(
    id: string,
    options: ClientOptions,
    world: Environment,
    store: OutboxStore,
    onClosed: () => void,
  ) {
    this.id = id
    this.options = options
    this.world = world
    this.store = store
    this.scope = scopeOf(options, id)
    this.onClosed = onClosed
    this.session = new Session(settings(id, options), world.random, world.isOnline())
    this.shown = this.session.snapshot()
    this.tabs = new Tabs(this.scope, world, {
      onLead: (isLeader) => (isLeader ? this.lead() : this.handle({ on: 'leader', isLeader })),
      onTold: (told) => this.hear(told),
    })
    this.unwatch = world.watch((signal) => {
      // What others did while this page slept was not heard.
      if (signal === 'shown' && !this.tabs.isLeader) void this.load()
      this.handle({ on: 'signal', signal })
    })
    this.tabs.want(true)
    void this.load()
  }

  /** Hears of something. Returns what ends that, as `signal` does. */
  on<K extends keyof ConversationEvents>(
    event: K,
    listener: (value: ConversationEvents[K]) => void,
    options: { signal?: AbortSignal } = {},
  ): () => void {
    const listeners = this.listeners.get(event) ?? new Set<Listener>()
    this.listeners.set(event, listeners.add(listener))
    const off = () => void listeners.delete(listener)
    options.signal?.addEventListener('abort', off)
    return off
  }

  /** Begins to be connected, until `close`. */
  connect(): void {
    if (!this.isClosed) this.handle({ on: 'connect' })
  }

  /**
   * Resolves when it is connected.
   *
   * Rejects with a `ChatError`: `closed` when it is closed for good, `timeout` after `timeoutMs`.
   */
  ready(timeoutMs?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        off()
        stop?.()
        settle()
      }
      const look = () => {
        const { state, reason } = this.shown.connection
        if (state === 'connected') end(resolve)
        else if (state === 'closed') end(() => reject(closed(reason)))
      }
      const late = () =>
        end(() => reject(new ChatError('timeout', `not connected after ${timeoutMs} ms`, true)))
      const off = this.on('connection', look)
      const stop = timeoutMs === undefined ? undefined : this.world.after(timeoutMs, late)
      look()
    })
  }

  /** Leaves. What was not sent stays in the outbox, for the next time. */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.handle({ on: 'close' })
    this.unwatch()
    this.cancelTimer?.()
    this.fetchingToken?.abort()
    for (const page of this.pages.values()) page.reject(closed('by close()'))
    for (const one of this.accepted.values()) one.reject(closed('it stays in the outbox'))
    this.onClosed()
    // Whoever sends next shall find all of it.
    while (this.writing.size > 0) await Promise.all(this.writing)
    this.tabs.end()
  }

  /** @internal */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Says something. It is kept and shown before this returns, and sent when there is a connection.
   *
   * Throws a `ChatError`: `invalid_content`, `content_too_long`, `queue_full`, `closed`.
   */
  send(content: string, options?: ActionOptions): Sent {
    return this.add({ kind: 'send', content: this.checked(content) }, options)
  }

  /** Changes an own message that has an id. Throws as `send` does. */
  edit(id: string, content: string, options?: ActionOptions): Sent {
    return this.add({ kind: 'edit', id, content: this.checked(content) }, options)
  }

  /** Takes back a message that has an id. */
  delete(id: string, options?: ActionOptions): Sent {
    return this.add({ kind: 'delete', id }, options)
  }

  /**
   * Sends a failed message again, under the same name: it is never there twice. Nothing happens if it is
   * being sent already.
   *
   * Throws a `ChatError`: `unknown_message`, `closed`.
   */
  retry(localId: string): Sent {
    if (this.isClosed) throw closed()
    const item = this.session.outbox.find(localId)
    if (!item) throw new ChatError('unknown_message', `no message "${localId}" is waiting or failed`)
    const sent = this.sent(localId)
    if (item.acked) this.settle(localId)
    this.handle({ on: 'retry', localId })
    return sent
  }

  /** Forgets a failed message. */
  discard(localId: string): void {
    if (this.session.outbox.find(localId)?.failed) this.handle({ on: 'remove', localId })
  }

  /** Call it at each key press, and with `false` when nothing is left in the field. Sent only as often as needed. */
  typing(isTyping = true): void {
    this.handle({ on: 'typing', isTyping })
  }

  /** This user has read everything up to here; without an id, all that is here. */
  markRead(upToId?: string): void {
    const id = upToId === undefined ? this.session.timeline.newest : idOf(upToId)
    this.handle({ on: 'mark read', upToId: Math.min(id, this.session.timeline.newest) })
  }

  /**
   * Gets older messages, or those of a gap, into the snapshot.
   *
   * Waits for a connection. Rejects with a `ChatError`: `closed`, or what the server refused it with.
   */
  fetchMore(options: FetchOptions = {}): Promise<Fetched> {
    if (this.isClosed) return Promise.reject(closed())
    const { gap, limit = this.options.pageSize ?? PAGE } = options
    const id = this.session.fetchId()
    const hole = gap && { from: idOf(gap.from), to: idOf(gap.to) }
    const fetch: Fetch = hole ? { id, want: 'hole', limit, hole } : { id, want: 'older', limit }
    return new Promise((resolve, reject) => {
      this.pages.set(id, { resolve, reject })
      this.handle({ on: 'fetch', fetch })
    })
  }

  /** All messages, the newest first, fetched as they are asked for. Holes are filled on the way. */
  async *history(options: { pageSize?: number } = {}): AsyncGenerator<Message> {
    const limit = options.pageSize ?? this.options.pageSize ?? PAGE
    let below = Number.POSITIVE_INFINITY
    while (true) {
      const { messages, gaps, hasMore } = this.shown
      const gap = gaps.findLast((one) => idOf(one.from) < below)
      const floor = gap ? idOf(gap.to) : 0
      const found = messages.filter(({ id }) => id !== undefined && idOf(id) < below && idOf(id) > floor)
      for (const message of found.reverse()) {
        below = idOf(message.id as string)
        yield message
      }
      if (gap) await this.fetchMore({ gap, limit })
      else if (hasMore || this.session.timeline.hasMore === undefined) await this.fetchMore({ limit })
      else return
    }
  }

  /** With `getSnapshot` for React's `useSyncExternalStore`, and for all that renders as a whole. */
  subscribe(listener: () => void): () => void {
    this.subscribers.add(listener)
    return () => void this.subscribers.delete(listener)
  }

  /** What is known now. The same object until something changes. */
  getSnapshot(): Snapshot {
    return this.shown
  }

  // --- inputs and effects ---

  private handle(input: Input): void {
    const effects = this.session.handle(input, this.world.now())
    for (const effect of effects) this.perform(effect)
    if (!this.isClosed) this.tabs.want(!this.session.link.isGivenUp)
    this.setTimer()
    this.show()
  }

  private perform(effect: Effect): void {
    switch (effect.do) {
      case 'token':
        return void this.fetchToken(effect.reason)
      case 'open':
        return this.open(effect.socket, effect.token)
      case 'close':
        return this.shut(effect.socket, effect.code)
      case 'auth':
        return this.write(effect.socket, { action: 'auth', token: effect.token })
      case 'write':
        return this.write(effect.socket, effect.action)
      case 'keep':
        return this.keep(effect.change)
      case 'settle':
        return this.settle(effect.localId, effect.error && ChatError.of(effect.error))
      case 'fetched':
        return this.fetched(effect.fetch, (page) =>
          page.resolve({ count: effect.rows.length, hasMore: effect.hasMore }),
        )
      case 'not fetched':
        return this.fetched(effect.fetch, (page) => page.reject(ChatError.of(effect.error)))
      case 'tell':
        return this.emit('gap', effect.gap)
      case 'read':
        return this.emit('read', { userId: effect.userId, upToId: effect.upToId })
      case 'error':
        return this.emit('error', effect.error)
    }
  }

  private setTimer(): void {
    const at = this.isClosed ? Number.POSITIVE_INFINITY : this.session.wake()
    if (at === this.timerAt) return
    this.cancelTimer?.()
    this.timerAt = at
    if (at === Number.POSITIVE_INFINITY) return
    this.cancelTimer = this.world.after(Math.max(0, at - this.world.now()), () => {
      this.timerAt = Number.POSITIVE_INFINITY
      this.handle({ on: 'time' })
    })
  }

  // --- sockets and tokens ---

  private async fetchToken(reason: 'first' | 'expiring' | 'rejected'): Promise<void> {
    this.fetchingToken = new AbortController()
    const { signal } = this.fetchingToken
    try {
      const token = await this.options.getToken({ conversationId: this.id, reason, signal })
      this.handle({ on: 'token', token })
    } catch (error) {
      if (signal.aborted) return
      const isFinal = error instanceof ChatError && !error.retryable
      const message = error instanceof Error ? error.message : String(error)
      this.handle({ on: 'no token', reason: message, isFinal })
      this.emit('error', isFinal ? error : new ChatError('unauthorized', `no token: ${message}`, true))
    }
  }

  private open(id: number, token: string): void {
    const { url, protocols } = this.address(token)
    const ended = (code: number, reason: string) => {
      this.sockets.delete(id)
      this.handle({ on: 'closed', socket: id, code, reason })
    }
    let socket: WebSocketLike
    try {
      socket = new this.world.WebSocket(url, protocols)
    } catch (error) {
      // Not from within the turn that asked for it.
      this.world.after(0, () => ended(1006, String(error)))
      return
    }
    this.sockets.set(id, socket)
    socket.onopen = () => this.handle({ on: 'opened', socket: id })
    socket.onmessage = ({ data }) => {
      this.options.onFrame?.('in', String(data))
      this.handle({ on: 'text', socket: id, text: String(data) })
    }
    socket.onclose = ({ code, reason }) => ended(code, reason)
    socket.onerror = () => {}
  }

  private address(token: string): { url: string; protocols?: string[] } {
    const { url, tokenTransport } = this.options
    const since = this.session.since
    const query = new URLSearchParams({ v: '1', ...(since === undefined ? {} : { since }) })
    if (tokenTransport === 'query') query.set('token', token)
    const base = url.replace(/^http/, 'ws').replace(/\/+$/, '')
    const address = `${base}/conversations/${encodeURIComponent(this.id)}/?${query}`
    return tokenTransport === 'query'
      ? { url: address }
      : { url: address, protocols: ['parlance.v1', `bearer.${token}`] }
  }

  private shut(id: number, code: number): void {
    const socket = this.sockets.get(id)
    if (!socket) return
    this.sockets.delete(id)
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(code)
  }

  private write(id: number, action: Action): void {
    const shown = action.action === 'auth' ? { ...action, token: '…' } : action
    this.options.onFrame?.('out', JSON.stringify(shown))
    this.sockets.get(id)?.send(JSON.stringify(action))
  }

  // --- the outbox ---

  private checked(given: string): string {
    const encoded = new TextEncoder().encode(given)
    // Half of a character would not be taken: it is replaced.
    const content = new TextDecoder('utf-8', { ignoreBOM: true }).decode(encoded)
    if (content === '') throw new ChatError('invalid_content', 'the content is empty')
    this.checkLength(encoded.length, this.session.contentBytes)
    // Control characters take six bytes each on the wire.
    this.checkLength(
      new TextEncoder().encode(JSON.stringify(content)).length,
      this.session.frameBytes - FRAME_REST_BYTES,
    )
    return content
  }

  private checkLength(bytes: number, most: number): void {
    if (bytes > most)
      throw new ChatError('content_too_long', `the content has ${bytes} bytes; ${most} are allowed`)
  }

  private add(action: OutboxAction, { traceparent }: ActionOptions = {}): Sent {
    if (this.isClosed) throw closed()
    const most = this.options.maxQueued ?? 500
    if (this.session.outbox.unacked().length >= most) {
      throw new ChatError('queue_full', `${most} messages wait for a connection already`, true)
    }
    const now = this.world.now()
    const localId = newId(now, this.world.random)
    const sent = this.sent(localId)
    const order = this.session.outbox.nextOrder(now)
    const trace = traceparent === undefined ? {} : { traceparent }
    const item = { localId, order, action, ...trace, createdAt: new Date(now).toISOString() }
    this.handle({ on: 'add', item })
    return sent
  }

  private sent(localId: string): Sent {
    const accepted = this.accepted.get(localId)?.promise ?? this.acceptance(localId)
    return { localId, accepted, cancel: () => this.cancel(localId) }
  }

  private acceptance(localId: string): Promise<void> {
    let waiting: Waiting<void> = { resolve() {}, reject() {} }
    const promise = new Promise<void>((resolve, reject) => {
      waiting = { resolve, reject }
    })
    // Who does not look at it is told by the message's state.
    promise.catch(() => {})
    this.accepted.set(localId, { ...waiting, promise })
    return promise
  }

  private cancel(localId: string): boolean {
    const { outbox } = this.session
    // Another tab may be sending it right now.
    const mayBeOut = !this.tabs.isLeader || outbox.wasSent(localId)
    if (mayBeOut || !outbox.find(localId)) return false
    this.handle({ on: 'remove', localId })
    return true
  }

  private settle(localId: string, error?: ChatError): void {
    const waiting = this.accepted.get(localId)
    this.accepted.delete(localId)
    if (error) waiting?.reject(error)
    else waiting?.resolve()
  }

  /** What another tab did. */
  private hear({ change, isLeaders }: Told): void {
    this.changes += 1
    // Who led before this tab did may have taken it back by now: the store knows.
    if ('put' in change && isLeaders && this.tabs.isLeader) void this.load()
    else this.handle({ on: 'other tab', change })
  }

  private keep(change: Change): void {
    const told: Told = { change, isLeaders: this.tabs.isLeader }
    const done = () => {
      this.tabs.tell(told)
      if ('put' in change) this.kept(change.put.localId, true)
    }
    try {
      const written =
        'put' in change ? this.store.put(this.scope, change.put) : this.store.delete(this.scope, change.gone)
      this.changes += 1
      if (!written) return done()
      const ended = written
        .then(done, (error) => this.notKept(told, error))
        .finally(() => this.writing.delete(ended))
      this.writing.add(ended)
    } catch (error) {
      this.notKept(told, error)
    }
  }

  private kept(localId: string, isKept: boolean): void {
    if (this.session.outbox.waitsForStore(localId)) this.handle({ on: 'kept', localId, isKept })
  }

  private notKept(told: Told, error: unknown): void {
    const { change } = told
    this.tabs.tell(told)
    if ('put' in change) this.kept(change.put.localId, false)
    this.emit('error', new ChatError('storage', `an unsent message cannot be kept: ${error}`, true))
  }

  private async load(): Promise<void> {
    try {
      let items = this.store.load(this.scope)
      while (items instanceof Promise) {
        const { changes } = this
        const found: OutboxItem[] = await items
        // What was changed meanwhile may be missing in it.
        items = changes === this.changes ? found : this.store.load(this.scope)
      }
      if (!this.isClosed) this.handle({ on: 'stored items', items })
    } catch (error) {
      this.emit('error', new ChatError('storage', `unsent messages cannot be read: ${error}`, true))
    }
  }

  /** This tab sends from now on, what is kept first. */
  private async lead(): Promise<void> {
    await this.load()
    this.handle({ on: 'leader', isLeader: this.tabs.isLeader })
  }

  private fetched(fetch: Fetch, settle: (page: Waiting<Fetched>) => void): void {
    const page = this.pages.get(fetch.id)
    this.pages.delete(fetch.id)
    if (page) settle(page)
  }

  // --- what is shown ---

  private show(): void {
    const before = this.shown
    const now = reusing(before, this.session.snapshot())
    if (now === before) return
    this.shown = now
    if (now.connection !== before.connection) this.emit('connection', now.connection)
    if (now.messages !== before.messages) this.tellMessages(before.messages, now.messages)
    if (now.typing !== before.typing) this.emit('typing', now.typing)
    if (now.online !== before.online) this.emit('online', now.online)
    if (now.unread !== before.unread) this.emit('unread', now.unread)
    for (const subscriber of [...this.subscribers]) subscriber()
  }

  private tellMessages(before: readonly Message[], now: readonly Message[]): void {
    const old = new Map(before.map((message) => [message.key, message]))
    for (const message of now) {
      const known = old.get(message.key)
      old.delete(message.key)
      if (known !== message) this.emit(known ? 'update' : 'message', message)
    }
    if (old.size > 0) this.emit('removed', [...old.values()])
  }

  private emit<K extends keyof ConversationEvents>(event: K, value: ConversationEvents[K]): void {
    for (const listener of [...(this.listeners.get(event) ?? [])]) {
      try {
        ;(listener as (value: ConversationEvents[K]) => void)(value)
      } catch (error) {
        // A listener's fault is its own: it is reported as any other uncaught one.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}

const PAGE = 50
/** What a frame needs besides its content. */
const FRAME_REST_BYTES = 512

function settings(conversationId: string, options: ClientOptions) {
  const { minMs = 500, maxMs = 20_000, stableMs = 5_000 } = options.backoff ?? {}
  return {
    conversationId,
    userId: options.userId,
    minMs,
    maxMs,
    stableMs,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    graceMs: options.heartbeatGraceMs ?? 10_000,
    ackTimeoutMs: options.ackTimeoutMs ?? 10_000,
    maxAttempts: options.maxAttempts ?? 5,
    pageSize: options.pageSize ?? PAGE,
  }
}

/** Names the outbox of a user in a conversation of a server. */
function scopeOf({ url, userId }: ClientOptions, id: string): string {
  return [url, userId, id].map(encodeURIComponent).join(':')
}

function closed(reason?: string): ChatError {
  return new ChatError(
    'closed',
    reason ? `the conversation is closed: ${reason}` : 'the conversation is closed',
  )
}

/** A UUID of version 7: by time first, so that names sort as they were given. */
function newId(now: number, random: () => number): string {
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('')
  const time = Math.floor(now).toString(16).padStart(12, '0')
  const variant = '89ab'[Math.floor(random() * 4)]
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-${variant}${hex(3)}-${hex(12)}`
}
