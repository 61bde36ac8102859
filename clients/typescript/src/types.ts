/** Everything public of the client that is data. */

import type { ErrorCode as ServerErrorCode } from './frames.js'

export type { ServerErrorCode }

/**
 * What a conversation's connection does.
 *
 * - `idle`: nobody called `connect` yet
 * - `connecting`: a token is being fetched, or a socket opened, or what was missed is being replayed
 * - `connected`: everything from here on is live
 * - `waiting`: the connection is lost and is tried again at `retryAt`
 * - `offline`: the device says that it has no network
 * - `closed`: by `close()`, or for good by the server: see `reason`
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'offline' | 'closed'

/** How far a message of this user came. */
export type MessageState = 'queued' | 'sending' | 'sent' | 'delivered' | 'read' | 'failed'

/** Why something did not work. The server's codes, and some of the client's own. */
export type ErrorCode =
  | ServerErrorCode
  | 'unauthorized'
  | 'timeout'
  | 'closed'
  | 'cancelled'
  | 'queue_full'
  | 'storage'

/** The state of a connection. */
export interface Connection {
  readonly state: ConnectionState
  /** While `waiting`: when the next attempt is made, in milliseconds as `Date.now()` counts. */
  readonly retryAt?: number
  /** Why it is `waiting` or `closed`: the close code, and the reason that came with it. */
  readonly code?: number
  readonly reason?: string
}

/** A message, as it is shown. Never changed: another state is another object. */
export interface Message {
  /** Stays the same while a message goes from `queued` to `read`: for lists that are rendered by key. */
  readonly key: string
  /** From the server. Missing while it was not acknowledged. */
  readonly id?: string
  /** The author's own name for it: of this user's messages only. */
  readonly localId?: string
  readonly senderId: string
  readonly isOwn: boolean
  readonly content: string
  /** RFC 3339. By the server's clock once it has an id. */
  readonly sentAt: string
  readonly isEdited: boolean
  readonly isDeleted: boolean
  readonly editedBy?: string
  /** Own messages only. */
  readonly state?: MessageState
  /** Of a `failed` message: whether trying again may help is in it. */
  readonly error?: ChatErrorLike
  /** What of this user's is under way for it. `content` and `isDeleted` are as if it had arrived. */
  readonly pending?: 'edit' | 'delete'
}

/** What a `ChatError` tells. */
export interface ChatErrorLike {
  readonly code: ErrorCode
  readonly message: string
  /** Whether the same may work later. */
  readonly retryable: boolean
}

/** Messages that are known to be missing: ids, both included. `fetchMore({ gap })` gets them. */
export interface Gap {
  readonly from: string
  readonly to: string
}

/** Somebody who types. */
export interface Typist {
  readonly userId: string
  readonly username: string
}

/** Everything that is known of a conversation at one moment. Never changed. */
export interface Snapshot {
  readonly conversationId: string
  readonly userId: string
  readonly connection: Connection
  /** Oldest first; this user's that are not acknowledged yet come last. */
  readonly messages: readonly Message[]
  readonly gaps: readonly Gap[]
  /** Whether there are messages older than the oldest here. */
  readonly hasMore: boolean
  /** Whether older messages, or those of a gap, are being fetched. */
  readonly isFetching: boolean
  readonly typing: readonly Typist[]
  /** Other users who are here. In a crowd a sample of them. */
  readonly online: readonly string[]
  /** How many are here in a crowd, where `online` is a sample. */
  readonly onlineCount?: number
  /** Up to where each other user has read, by user. */
  readonly readBy: ReadonlyMap<string, string>
  /** Up to where this user has read; `'0'` if nothing. */
  readonly readId: string
  readonly unread: number
  /** This user's actions that have no acknowledgement. */
  readonly queued: number
}

/** What listeners of a conversation hear. */
export interface ConversationEvents {
  /** The connection changed. */
  connection: Connection
  /** A message was seen for the first time, own ones when they are sent. */
  message: Message
  /** A message changed: its state, its content, or that it was deleted. */
  update: Message
  /** Messages that were shown are no more: the server's log lost them. Those of this user are sent again. */
  removed: readonly Message[]
  typing: readonly Typist[]
  online: readonly string[]
  read: { readonly userId: string; readonly upToId: string }
  unread: number
  gap: Gap
  error: ChatErrorLike
}

/** Why a token is wanted. `rejected`: the one before was not accepted, or may not have been. */
export type TokenReason = 'first' | 'expiring' | 'rejected'

/** What a token is wanted for. `signal` is aborted when it is wanted no more. */
export interface TokenContext {
  readonly conversationId: string
  readonly reason: TokenReason
  readonly signal: AbortSignal
}

/** What is kept of an action of this user until it is known to be safe. Plain JSON. */
export interface OutboxItem {
  readonly localId: string
  /** Smaller goes first. */
  readonly order: number
  readonly action: OutboxAction
  /** The trace that it belongs to. */
  readonly traceparent?: string
  /** RFC 3339. */
  readonly createdAt: string
  /** Where it stands in the log, and the epoch that was known when that was heard. */
  readonly acked?: { readonly position: string; readonly epoch: number }
  /** The id under which it stood in the log before that was lost. */
  readonly lostId?: string
  /** It is not sent again by itself. */
  readonly failed?: ChatErrorLike
}

/** What may be said about an action. */
export interface ActionOptions {
  /** The `traceparent` of W3C Trace Context: to which trace it belongs. */
  readonly traceparent?: string
}

/** What a user did. */
export type OutboxAction =
  | { readonly kind: 'send'; readonly content: string }
  | { readonly kind: 'edit'; readonly id: string; readonly content: string }
  | { readonly kind: 'delete'; readonly id: string }

/**
 * Where unsent actions are kept. `scope` names the user and the conversation. What returns a promise is
 * waited for before the action is sent; what throws or rejects is told as a `storage` error, and the
 * action is sent all the same.
 */
export interface OutboxStore {
  load(scope: string): OutboxItem[] | Promise<OutboxItem[]>
  put(scope: string, item: OutboxItem): void | Promise<void>
  delete(scope: string, localId: string): void | Promise<void>
}

/** What a client is made of: server, user, tokens; the rest has defaults. */
export interface ClientOptions {
  /** `wss://chat.example.com`, with a path if the gateway is behind one. `https:` is taken for `wss:`. */
  url: string
  /** Who the tokens are for. */
  userId: string
  /**
   * Gives a token for a conversation. Called when there is none, 30 s before it ends, and after it was
   * rejected. What it throws is tried again with backoff, except a `ChatError` that is not retryable.
   */
  getToken(context: TokenContext): string | Promise<string>
  /** Default: `localStorage` where there is one, else `memory`. */
  outbox?: OutboxStore | 'localStorage' | 'memory'
  /** How the token travels. `query` leaves it in the logs of proxies; a server of the base layer needs it. Default: `subprotocol`. */
  tokenTransport?: 'subprotocol' | 'query'
  /** Default: 500, 20,000 and 5,000 ms. */
  backoff?: { minMs?: number; maxMs?: number; stableMs?: number }
  /** Until a socket is open. Default: 10 s. */
  connectTimeoutMs?: number
  /** Until an action is answered; then the connection is made anew. Default: 10 s. */
  ackTimeoutMs?: number
  /** How often an action is tried that the server refuses for now. Default: 5. Lost connections do not count. */
  maxAttempts?: number
  /** Beyond it `send` throws `queue_full`. Default: 500. */
  maxQueued?: number
  /** How much longer than the pause between two heartbeats nothing may be heard. Default: 10 s. */
  heartbeatGraceMs?: number
  /** Rows of a page. Default: 50. */
  pageSize?: number
  /** Sees each frame that goes out and comes in, tokens left out. */
  onFrame?: (direction: 'out' | 'in', text: string) => void
  /** What the client needs from around it. Default: what the browser has. */
  environment?: Partial<Environment>
}

/** The world around the client. All of it can be replaced, for tests and other platforms. */
export interface Environment {
  /** The constructor. */
  WebSocket: new (
    url: string,
    protocols?: string[],
  ) => WebSocketLike
  /** Milliseconds, as `Date.now()`. */
  now(): number
  /** From 0 to below 1. */
  random(): number
  /** Returns what undoes it. */
  after(ms: number, callback: () => void): () => void
  /** Network and page: returns what undoes it. */
  watch(listener: (signal: Signal) => void): () => void
  isOnline(): boolean
  localStorage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>
  locks?: Pick<LockManager, 'request'>
  channel?: (name: string) => ChannelLike
}

/** What happened to the device or the page. */
export type Signal = 'online' | 'offline' | 'hidden' | 'frozen' | 'shown'

/** What is used of a `WebSocket`. */
export interface WebSocketLike {
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: (() => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

/** What is used of a `BroadcastChannel`. */
export interface ChannelLike {
  onmessage: ((event: { data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
}

/** What `send`, `edit`, `delete` and `retry` give. */
export interface Sent {
  readonly localId: string
  /** Resolves when it is in the server's log, rejects with a `ChatError` when it will not be sent again by itself. */
  readonly accepted: Promise<void>
  /** Takes it back if it did not leave yet. Returns whether it did. */
  cancel(): boolean
}

/** Which messages are wanted. */
export interface FetchOptions {
  limit?: number
  /** A hole to be filled from its newest end on, instead of what is older than all. */
  gap?: Gap
}

/** What came of a fetch. */
export interface Fetched {
  /** How many messages came. */
  readonly count: number
  readonly hasMore: boolean
}
