/**
 * The life of a conversation's connection, without sockets and clocks: told what happened, it says what
 * is to be done, and when it wants to be woken.
 *
 * There is one socket, or two while a server that is leaving is changed for another one: the second must
 * be live before the first is closed. Nothing here knows what frames say.
 */

import type { Connection, ConnectionState, Signal, TokenReason } from './types.js'
import { backoff, verdict } from './verdict.js'

export type LinkEffect =
  | { readonly do: 'token'; readonly reason: TokenReason }
  | { readonly do: 'open'; readonly socket: number; readonly token: string }
  /** A new token is told to the server. */
  | { readonly do: 'auth'; readonly socket: number; readonly token: string }
  | { readonly do: 'close'; readonly socket: number; readonly code: number }

export interface LinkSettings {
  readonly minMs: number
  readonly maxMs: number
  readonly stableMs: number
  readonly connectTimeoutMs: number
  readonly graceMs: number
}

interface Socket {
  readonly id: number
  readonly token: string
  /** Until it is open: when it is given up. */
  deadline: number
  openedAt?: number
  heardAt: number
  isLive: boolean
}

/** A close of ours after which we come back: to the server no `1000`, which would mean leaving for good. */
const COME_BACK = 3000
const NORMAL = 1000
const LOST = 1006
/** A server that says nothing for this long is gone, unless it told another pace of heartbeats. */
const SILENCE_MS = 60_000
/** After so many sockets that never opened the token may be what is wrong: browsers do not tell. */
const UNOPENED = 2
/** Until the other server is tried again while the present one still serves. */
const NEXT_AGAIN_MS = 2_000
/** Until a token that ends soon is asked for again. */
const RENEW_AGAIN_MS = 5_000

export class Link {
  status: Connection = { state: 'idle' }
  readonly effects: LinkEffect[] = []
  private readonly settings: LinkSettings
  private readonly random: () => number
  private isOnline: boolean
  private isFrozen = false
  private current: Socket | undefined
  private next: Socket | undefined
  private sockets = 0
  private failures = 0
  private unopened = 0
  private retryAt: number | undefined
  /** When a token in the place of one that ends is asked for again. */
  private renewAt: number | undefined
  /** When a socket to another server is opened besides. */
  private changeAt: number | undefined
  private token: string | undefined
  /** Whether the token may be what is wrong. */
  private isDoubtful = false
  private rejected: string | undefined
  private fetching: TokenReason | undefined
  private silenceMs = SILENCE_MS

  constructor(settings: LinkSettings, random: () => number, isOnline: boolean) {
    this.settings = settings
    this.random = random
    this.isOnline = isOnline
  }

  /** The socket on which actions go out, if there is one. */
  get writable(): number | undefined {
    return this.current?.isLive ? this.current.id : undefined
  }

  /** Whether nothing will be sent before somebody asks for it, or the page wakes. */
  get isGivenUp(): boolean {
    return this.isFrozen || this.status.state === 'closed'
  }

  has(socket: number): boolean {
    return this.find(socket) !== undefined
  }

  connect(now: number): void {
    if (this.status.state === 'idle' || this.status.state === 'closed') {
      this.failures = 0
      this.begin(now)
    }
  }

  /** Ends for good. */
  close(): void {
    this.end(NORMAL, { state: 'closed' })
  }

  /** Nothing was heard in time, or what was heard makes no sense. */
  drop(id: number | undefined, now: number, reason: string): void {
    const socket = id === undefined ? undefined : this.find(id)
    if (socket) this.lost(socket, now, LOST, reason, true)
  }

  signal(signal: Signal, now: number): void {
    if (signal === 'offline' || signal === 'online') this.isOnline = signal === 'online'
    if (signal === 'frozen' || signal === 'shown') this.isFrozen = signal === 'frozen'
    // A page that is merely out of sight goes on as before.
    if (signal === 'hidden' || !this.wantsToBeConnected()) return
    if (!this.isOnline || this.isFrozen) {
      this.end(COME_BACK, { state: 'offline' })
    } else if (!this.current && this.fetching === undefined) {
      this.begin(now)
    }
  }

  /** A token was fetched. */
  gotToken(token: string, now: number): void {
    const reason = this.fetching
    this.fetching = undefined
    if (reason === undefined) return
    if (reason === 'rejected' && token === this.rejected) {
      this.noToken(now, 'the token is the one that was rejected')
      return
    }
    this.token = token
    this.isDoubtful = false
    if (reason === 'expiring') this.tellToken(token)
    if (!this.current && this.mayConnect()) this.open(now)
    else if (this.current && this.changeAt !== undefined && this.changeAt <= now) this.change(now)
  }

  /** There is no token now. `isFinal`: and there will be none. */
  gotNoToken(now: number, reason: string, isFinal: boolean): void {
    if (this.fetching === 'expiring' && this.current && !isFinal) this.renewAt = now + RENEW_AGAIN_MS
    this.fetching = undefined
    if (isFinal && !this.current) this.end(NORMAL, { state: 'closed', reason })
    else this.noToken(now, reason)
  }

  /** The token ends soon. The new one is to be told to the server as well. */
  tokenExpires(): void {
    this.renewAt = undefined
    this.askForToken('expiring')
  }

  opened(id: number, now: number): void {
    const socket = this.find(id)
    if (!socket) return
    socket.openedAt = now
    socket.heardAt = now
    this.unopened = 0
  }

  heard(id: number, now: number): void {
    const socket = this.find(id)
    if (socket) socket.heardAt = now
  }

  heartbeats(everyMs: number): void {
    this.silenceMs = everyMs > 0 ? everyMs + this.settings.graceMs : SILENCE_MS
  }

  /** All that was missed was told. Closes the socket before this one. */
  live(id: number): void {
    const socket = this.find(id)
    if (!socket) return
    socket.isLive = true
    if (socket === this.next) {
      const old = this.current
      this.current = socket
      this.next = undefined
      if (old) this.effects.push({ do: 'close', socket: old.id, code: NORMAL })
    }
    this.rejected = undefined
    this.status = { state: 'connected' }
  }

  /** The server wants this client elsewhere in `afterMs`. */
  changeServer(now: number, afterMs: number): void {
    this.changeAt = now + afterMs
  }

  closed(id: number, now: number, code: number, reason: string): void {
    const socket = this.find(id)
    if (socket) this.lost(socket, now, code, reason, false)
  }

  /** Does what is due. */
  due(now: number): void {
    for (const socket of [this.next, this.current]) {
      if (!socket || this.deadline(socket) > now) continue
      const reason = socket.openedAt === undefined ? 'it did not open in time' : 'nothing was heard'
      this.lost(socket, now, LOST, reason, true)
    }
    if (this.changeAt !== undefined && this.changeAt <= now && !this.next && this.current) this.change(now)
    if (this.retryAt !== undefined && this.retryAt <= now) this.begin(now)
    if (this.renewAt !== undefined && this.renewAt <= now) this.tokenExpires()
  }

  wake(): number {
    const change = this.next || this.fetching !== undefined ? undefined : this.changeAt
    const times = [
      this.retryAt,
      this.renewAt,
      change,
      this.next && this.deadline(this.next),
      this.current && this.deadline(this.current),
    ]
    return Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY))
  }

  // --- inside ---

  private deadline(socket: Socket): number {
    return socket.openedAt === undefined ? socket.deadline : socket.heardAt + this.silenceMs
  }

  private find(id: number): Socket | undefined {
    return [this.current, this.next].find((socket) => socket?.id === id)
  }

  private wantsToBeConnected(): boolean {
    return this.status.state !== 'idle' && this.status.state !== 'closed'
  }

  private mayConnect(): boolean {
    return this.wantsToBeConnected() && this.isOnline && !this.isFrozen
  }

  private begin(now: number): void {
    this.retryAt = undefined
    if (!this.isOnline || this.isFrozen) {
      this.status = { state: 'offline' }
      return
    }
    this.status = { state: 'connecting' }
    if (this.token === undefined)
      this.askForToken(this.rejected === undefined && !this.isDoubtful ? 'first' : 'rejected')
    else this.open(now)
  }

  private noToken(now: number, reason: string): void {
    if (!this.current) {
      if (this.wantsToBeConnected()) this.wait(now, undefined, reason)
    } else if (this.changeAt !== undefined) this.changeAt = Math.max(this.changeAt, now + NEXT_AGAIN_MS)
  }

  private reject(token: string): void {
    this.rejected = token
    if (this.token === token) this.token = undefined
  }

  private askForToken(reason: TokenReason): void {
    if (this.fetching !== undefined) return
    this.fetching = reason
    this.effects.push({ do: 'token', reason })
  }

  private tellToken(token: string): void {
    for (const socket of [this.current, this.next]) {
      if (socket?.openedAt !== undefined) this.effects.push({ do: 'auth', socket: socket.id, token })
    }
  }

  private open(now: number): void {
    this.status = { state: 'connecting' }
    this.current = this.socket(now)
  }

  /** Opens the second socket. */
  private change(now: number): void {
    if (this.token === undefined) return this.askForToken('rejected')
    this.changeAt = undefined
    this.next = this.socket(now)
  }

  private socket(now: number): Socket {
    this.sockets += 1
    const id = this.sockets
    this.effects.push({ do: 'open', socket: id, token: this.token ?? '' })
    return {
      id,
      token: this.token ?? '',
      deadline: now + this.settings.connectTimeoutMs,
      heardAt: now,
      isLive: false,
    }
  }

  private lost(socket: Socket, now: number, code: number, reason: string, isOurs: boolean): void {
    if (isOurs) this.effects.push({ do: 'close', socket: socket.id, code: COME_BACK })
    if (socket === this.next) {
      this.next = undefined
      if (code === 4003) this.reject(socket.token)
      this.changeAt = now + NEXT_AGAIN_MS
      return
    }
    this.current = this.next
    this.next = undefined
    this.changeAt = undefined
    this.renewAt = undefined
    if (this.current) {
      this.status = { state: 'connecting' }
      return
    }
    if (socket.openedAt !== undefined && now - socket.openedAt >= this.settings.stableMs) this.failures = 0
    if (socket.openedAt === undefined) this.unopened += 1
    if (this.unopened >= UNOPENED) {
      this.unopened = 0
      this.token = undefined
      this.isDoubtful = true
    }
    this.judge(socket, now, code, reason)
  }

  private judge(socket: Socket, now: number, code: number, reason: string): void {
    const what = verdict(code, reason)
    if (what.do === 'stop') {
      this.end(undefined, { state: 'closed', code, reason })
      return
    }
    if (what.do === 'token') this.reject(socket.token)
    if (what.do === 'after') {
      // Spread as well: all of them were told at about the same time.
      this.waitUntil(now + what.ms + this.random() * this.settings.minMs, code, reason)
      return
    }
    // At once, but only if that is not what went wrong just now.
    if (what.do !== 'back off' && this.failures === 0) {
      this.failures += 1
      this.begin(now)
      return
    }
    this.wait(now, code, reason)
  }

  private wait(now: number, code: number | undefined, reason: string): void {
    const { minMs, maxMs } = this.settings
    this.waitUntil(now + backoff(this.failures, minMs, maxMs, this.random), code, reason)
    this.failures += 1
  }

  private waitUntil(retryAt: number, code: number | undefined, reason: string): void {
    if (!this.isOnline || this.isFrozen) {
      this.status = { state: 'offline' }
      return
    }
    this.retryAt = retryAt
    this.status = { state: 'waiting', retryAt, reason, ...(code === undefined ? {} : { code }) }
  }

  private end(code: number | undefined, status: Connection & { state: ConnectionState }): void {
    for (const socket of [this.current, this.next]) {
      if (socket && code !== undefined) this.effects.push({ do: 'close', socket: socket.id, code })
    }
    this.current = undefined
    this.next = undefined
    this.changeAt = undefined
    this.retryAt = undefined
    this.renewAt = undefined
    this.status = status
  }
}
