/**
 * A server in this process that speaks the wire honestly: a log, names that are known again, epochs,
 * a store, resuming. On top of that tests tell it to misbehave: `onAction` sees every action before it is
 * done, `onFrame` every frame before it is told.
 *
 * It leaves out what has no part in the client's promises: rates, crowds, limits of size.
 */

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Action, ChatMessage, HistoryRow, ServerFrame } from '../../src/frames.js'
import { compare, idOf } from '../../src/position.js'

const FRAME_BYTES = 65_536

type Told = Extract<
  ServerFrame,
  { position: string; type: 'chat_message' | 'message.edited' | 'message.deleted' }
>
type SendAction = Extract<Action, { action: 'send_message' }>
type FetchAction = Extract<Action, { action: 'fetch_messages' }>

interface Entry {
  readonly position: string
  readonly author: string
  readonly event: Told
}

interface Kept {
  message: ChatMessage
  isEdited: boolean
  isDeleted: boolean
  editedBy?: string
  position: string
}

export interface FakeOptions {
  /** Knows nothing of the extended layer. */
  isBase?: boolean
  /** Of the base layer: whether it replays after `since`. */
  resumes?: boolean
  isDurable?: boolean
  resumeEvents?: number
  heartbeatMs?: number
  /** Whether everything is stored as soon as it is in the log. */
  storesAtOnce?: boolean
}

/** One connection, as the server sees it. */
export class FakeConnection {
  readonly user: string
  readonly room: Room
  readonly since: string | null
  token: string
  private readonly server: FakeServer
  private readonly socket: WebSocket

  constructor(
    server: FakeServer,
    socket: WebSocket,
    room: Room,
    user: string,
    token: string,
    since: string | null,
  ) {
    this.server = server
    this.socket = socket
    this.room = room
    this.user = user
    this.token = token
    this.since = since
  }

  tell(frame: ServerFrame): void {
    for (const one of this.server.onFrame(this, frame)) this.tellText(JSON.stringify(one))
  }

  tellText(text: string): void {
    if (this.socket.readyState === this.socket.OPEN) this.socket.send(text)
  }

  close(code: number, reason = ''): void {
    this.room.connections.delete(this)
    this.socket.close(code, reason)
  }

  cut(): void {
    this.room.connections.delete(this)
    this.socket.terminate()
  }
}

/** A conversation. */
export class Room {
  log: Entry[] = []
  messages = new Map<number, Kept>()
  epoch = 0
  storedId = 0
  readonly reads = new Map<string, number>()
  readonly connections = new Set<FakeConnection>()
  private readonly names = new Map<string, Entry & { readonly says: string }>()
  /** The place up to which each lost tail survived, and where the epoch after it begins. */
  private readonly losses: { after: string; mark: string }[] = []
  private lastId = 0
  private lastPosition = '0'

  get headId(): number {
    return Math.max(0, ...this.messages.keys())
  }

  get head(): string {
    return this.lastPosition
  }

  append(
    author: string,
    name: string | undefined,
    says: string,
    event: (position: string) => Told,
    isMessage: boolean,
  ): Entry {
    const position = isMessage ? String(this.lastId + 1) : this.afterLast()
    if (isMessage) this.lastId += 1
    this.lastPosition = position
    const entry = { position, author, event: event(position) }
    this.log.push(entry)
    if (name !== undefined) this.names.set(`${author} ${name}`, { ...entry, says })
    return entry
  }

  named(author: string, name: string | null | undefined): (Entry & { readonly says: string }) | undefined {
    return typeof name === 'string' ? this.names.get(`${author} ${name}`) : undefined
  }

  /** The log loses everything above a position; a new epoch begins. What was stored must not be lost. */
  lose(after: string): void {
    this.epoch += 1
    const isLost = (position: string) => compare(position, after) > 0
    this.log = this.log.filter((entry) => !isLost(entry.position))
    for (const [name, entry] of this.names) if (isLost(entry.position)) this.names.delete(name)
    this.replay()
    this.lastId = this.epoch * 10_000_000_000
    this.lastPosition = String(this.lastId)
    this.losses.push({ after, mark: this.lastPosition })
    this.storedId = Math.min(this.storedId, idOf(after))
  }

  /** The last place at or before `since` that still exists. */
  surviving(since: string): string {
    const loss = this.losses.find(({ after, mark }) => compare(since, after) > 0 && compare(since, mark) < 0)
    if (loss) return loss.after
    return compare(since, this.lastPosition) > 0 ? this.lastPosition : since
  }

  row(kept: Kept, reader: string): HistoryRow {
    const { message } = kept
    return {
      id: message.id,
      ...(message.local_id && message.sender_id === reader ? { local_id: message.local_id } : {}),
      sender_id: message.sender_id,
      content: message.content,
      sent_at: message.timestamp,
      is_edited: kept.isEdited,
      is_deleted: kept.isDeleted,
      ...(kept.editedBy === undefined ? {} : { edited_by: kept.editedBy }),
      status: 'sent',
      position: kept.position,
    }
  }

  apply({ event }: Entry): void {
    if (event.type === 'chat_message') {
      const kept = {
        message: { ...event.message },
        isEdited: false,
        isDeleted: false,
        position: event.position,
      }
      this.messages.set(idOf(event.message.id), kept)
      return
    }
    const kept = this.messages.get(idOf(event.message_id))
    if (!kept || kept.isDeleted) return
    kept.position = event.position
    if (event.type === 'message.edited') {
      kept.message.content = event.content
      kept.isEdited = true
      kept.editedBy = event.edited_by
    } else {
      kept.message.content = ''
      kept.isDeleted = true
    }
  }

  private replay(): void {
    this.messages = new Map()
    for (const entry of this.log) this.apply(entry)
  }

  private afterLast(): string {
    const [id = '0', change = '0'] = this.lastPosition.split('-')
    return `${id}-${Number(change) + 1}`
  }
}

export class FakeServer {
  readonly rooms = new Map<string, Room>()
  readonly options: Required<FakeOptions>
  /** Tokens that are accepted no more. */
  readonly revoked = new Set<string>()
  /** What is done with an action: `act` does what the protocol says. */
  onAction: (connection: FakeConnection, action: Action, act: () => void) => void = (_, __, act) => act()
  /** What is told instead of a frame. */
  onFrame: (connection: FakeConnection, frame: ServerFrame) => ServerFrame[] = (_, frame) => [frame]
  /** Judges a connection that has a good token: may close it. Returns whether it may go on. */
  onConnect: (connection: FakeConnection) => boolean = () => true
  /** All actions that were heard. */
  readonly heard: Action[] = []
  private http: Server
  private port = 0

  private constructor(options: FakeOptions) {
    this.options = {
      isBase: false,
      resumes: true,
      isDurable: true,
      resumeEvents: 5_000,
      heartbeatMs: 25_000,
      storesAtOnce: true,
      ...options,
    }
    this.http = createServer()
  }

  static async start(options: FakeOptions = {}): Promise<FakeServer> {
    const server = new FakeServer(options)
    await server.listen()
    return server
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  /** A token of the fake: who, until when, and a number that makes it another one. */
  token(user: string, ttlMs = 3_600_000, serial = 0): string {
    return `${Buffer.from(user).toString('hex')}.${Date.now() + ttlMs}.${serial}`
  }

  room(id: string): Room {
    const room = this.rooms.get(id) ?? new Room()
    this.rooms.set(id, room)
    return room
  }

  connections(): FakeConnection[] {
    return [...this.rooms.values()].flatMap((room) => [...room.connections])
  }

  /** The store has everything up to now. */
  store(room: Room): void {
    room.storedId = room.headId
    for (const one of room.connections) this.tellStored(one)
  }

  /** The log loses its end, and everybody is told. */
  lose(room: Room, after: string): void {
    room.lose(after)
    for (const one of room.connections) {
      if (!this.options.isBase)
        one.tell({ type: 'resync', epoch: room.epoch, lost_after: after, stored_id: String(room.storedId) })
    }
  }

  async stop(): Promise<void> {
    for (const one of this.connections()) one.cut()
    await new Promise((resolve) => this.http.close(resolve))
  }

  /** Ends as a node that drains, and comes back under the same address with the same log. */
  async restart(): Promise<void> {
    for (const one of this.connections()) {
      if (!this.options.isBase) one.tell({ type: 'reconnect', after_ms: 20, reason: 'drain' })
    }
    for (const one of this.connections()) one.close(1012, '{"retry_after_ms":50}')
    await new Promise((resolve) => this.http.close(resolve))
    await this.listen()
  }

  /** What somebody says without a connection of their own. */
  say(room: Room, author: string, content: string, localId?: string): string {
    const entry = this.appendMessage(room, author, content, localId)
    return entry.position
  }

  change(room: Room, author: string, id: string, content: string | undefined, localId?: string): string {
    return this.appendChange(room, author, id, content, localId).position
  }

  // --- inside ---

  private async listen(): Promise<void> {
    this.http = createServer()
    const sockets = new WebSocketServer({
      server: this.http,
      handleProtocols: (protocols) => [...protocols][0] ?? false,
    })
    sockets.on('connection', (socket, request) => {
      const url = new URL(request.url ?? '/', 'http://fake')
      const bearer = (request.headers['sec-websocket-protocol'] ?? '')
        .split(/, */)
        .find((one) => one.startsWith('bearer.'))
      const token = url.searchParams.get('token') ?? bearer?.slice('bearer.'.length) ?? ''
      const id = decodeURIComponent(url.pathname.split('/')[2] ?? '')
      this.admit(socket, id, token, url.searchParams.get('since'))
    })
    await new Promise<void>((resolve) => this.http.listen(this.port, '127.0.0.1', resolve))
    this.port = (this.http.address() as AddressInfo).port
  }

  private userOf(token: string): string | undefined {
    const [hex = '', until = '0'] = token.split('.')
    const isGood = Number(until) > Date.now() && !this.revoked.has(token)
    return isGood ? Buffer.from(hex, 'hex').toString() : undefined
  }

  private admit(socket: WebSocket, id: string, token: string, since: string | null): void {
    const user = this.userOf(token)
    if (user === undefined) return socket.close(4003, 'the token is not accepted')
    const room = this.room(id)
    const connection = new FakeConnection(this, socket, room, user, token, since)
    socket.on('message', (data) => this.hear(connection, data.toString()))
    socket.on('close', () => this.leave(connection))
    if (!this.onConnect(connection)) return
    this.greet(connection)
  }

  private leave(connection: FakeConnection): void {
    const { room, user } = connection
    room.connections.delete(connection)
    this.others(connection, { type: 'user_status', user_id: user, status: 'offline', timestamp: now() })
  }

  private greet(connection: FakeConnection): void {
    const { room } = connection
    if (this.options.isBase) this.greetBase(connection)
    else this.greetExtended(connection)
    room.connections.add(connection)
    for (const one of room.connections) {
      if (one.user === connection.user) continue
      connection.tell({ type: 'user_status', user_id: one.user, status: 'online', timestamp: now() })
      one.tell({ type: 'user_status', user_id: connection.user, status: 'online', timestamp: now() })
    }
    for (const [user, id] of room.reads) {
      if (!this.options.isBase)
        connection.tell({ type: 'receipts', read: { [user]: String(id) }, delivered: {} })
    }
    if (!this.options.isBase && Number(connection.token.split('.')[1]) < Date.now() + 30_000) {
      connection.tell({ type: 'auth_expiring', expires_at: now() })
    }
  }

  private greetBase(connection: FakeConnection): void {
    const { since, room } = connection
    if (since === null || !this.options.resumes) return
    for (const entry of room.log) if (compare(entry.position, since) > 0) this.replayed(connection, entry)
  }

  private greetExtended(connection: FakeConnection): void {
    const { since, room } = connection
    const from = since === null ? room.head : room.surviving(since)
    const missed = room.log.filter((entry) => compare(entry.position, from) > 0)
    const isLost = since !== null && from !== since
    const isTooMuch = missed.length > this.options.resumeEvents
    connection.tell(this.hello(connection, since !== null && !isLost && !isTooMuch))
    if (isLost) {
      connection.tell({
        type: 'resync',
        epoch: room.epoch,
        lost_after: from,
        stored_id: String(room.storedId),
      })
    }
    if (isTooMuch) this.tellNewest(connection, from)
    else for (const entry of missed) this.replayed(connection, entry)
    connection.tell({ type: 'live', position: room.head })
  }

  /** As the server does: present contents, without the edits and deletions that made them. */
  private tellNewest(connection: FakeConnection, since: string): void {
    const { room } = connection
    const newest = [...room.messages.values()]
      .filter(({ message }) => idOf(message.id) > idOf(since))
      .slice(-100)
    const oldest = newest[0] ? idOf(newest[0].message.id) : room.headId + 1
    const [from, to] = [idOf(since) + 1, oldest - 1]
    if (from <= to) connection.tell({ type: 'gap', from: String(from), to: String(to) })
    for (const { message } of newest) connection.tell({ type: 'chat_message', message, position: message.id })
  }

  private hello(connection: FakeConnection, resumed: boolean): ServerFrame {
    const { room, user } = connection
    const readId = room.reads.get(user) ?? 0
    const above = [...room.messages.keys()].filter((id) => id > readId)
    return {
      type: 'hello',
      conversation_id: 'fake',
      user_id: user,
      connection_id: 'fake',
      epoch: room.epoch,
      head_id: String(room.headId),
      stored_id: String(room.storedId),
      read_id: String(readId),
      unread: above.length,
      resumed,
      durable: this.options.isDurable,
      heartbeat_ms: this.options.heartbeatMs,
      limits: {
        frame_bytes: FRAME_BYTES,
        content_bytes: 16_384,
        local_id_bytes: 128,
        read_ids: 500,
        page: 100,
        actions_per_second: 0,
        actions_burst: 0,
        resume_events: this.options.resumeEvents,
      },
    }
  }

  /** With its present content: the edits follow in their places. */
  private replayed(connection: FakeConnection, { event }: Entry): void {
    if (event.type !== 'chat_message') return connection.tell(event)
    const present = connection.room.messages.get(idOf(event.message.id))
    connection.tell({
      ...event,
      message: { ...event.message, content: present?.message.content ?? event.message.content },
    })
  }

  private hear(connection: FakeConnection, text: string): void {
    if (!connection.room.connections.has(connection)) return
    if (Buffer.byteLength(text) > FRAME_BYTES) return connection.close(1009, 'the frame is too long')
    if (/\\ud[89a-f]/.test(text)) {
      return connection.tell({
        type: 'error',
        action: null,
        error: 'half of a character',
        code: 'invalid_json',
        retryable: false,
      })
    }
    const action = JSON.parse(text) as Action
    this.heard.push(action)
    this.onAction(connection, action, () => this.act(connection, action))
  }

  private act(connection: FakeConnection, action: Action): void {
    const { room, user } = connection
    switch (action.action) {
      case 'send_message':
        return this.send(connection, action)
      case 'edit_message':
      case 'delete_message':
        return this.edit(connection, action)
      case 'fetch_messages':
        return this.fetch(connection, action)
      case 'typing':
        return this.others(connection, {
          type: 'typing',
          user_id: user,
          username: user,
          is_typing: action.is_typing,
        })
      case 'read': {
        const ids = action.message_ids.map(String)
        room.reads.set(user, Math.max(room.reads.get(user) ?? 0, ...ids.map(idOf)))
        return this.everybody(room, { type: 'read', user_id: user, message_ids: ids })
      }
      case 'auth':
        if (this.userOf(action.token) !== user) return connection.close(4003, 'the token is not accepted')
        connection.token = action.token
        return connection.tell({ type: 'auth_ok', expires_at: now() })
      case 'heartbeat':
      case 'heartbeat_ack':
        return
    }
  }

  private send(connection: FakeConnection, action: SendAction): void {
    const { room, user } = connection
    const known = room.named(user, action.local_id)
    if (known && known.says !== action.content) {
      return connection.tell({
        type: 'message.failed',
        local_id: action.local_id ?? null,
        error: 'this local_id stands for something else',
        code: 'local_id_conflict',
        retryable: false,
      })
    }
    if (known) {
      this.replayed(connection, known)
      this.tellStored(connection)
      return
    }
    const hadReadAll = (room.reads.get(user) ?? 0) >= room.headId
    const { position } = this.appendMessage(room, user, action.content, action.local_id ?? undefined)
    if (hadReadAll) room.reads.set(user, idOf(position))
  }

  private edit(
    connection: FakeConnection,
    action: Extract<Action, { action: 'edit_message' | 'delete_message' }>,
  ): void {
    const { room, user } = connection
    const known = room.named(user, action.local_id)
    if (known) return connection.tell(known.event)
    const id = String(action.message_id)
    const kept = room.messages.get(idOf(id))
    const isGone = !kept || (kept.isDeleted && action.action === 'edit_message')
    const code = isGone ? 'unknown_message' : kept.message.sender_id === user ? undefined : 'not_author'
    if (code)
      return connection.tell({
        type: 'error',
        action: action.action,
        error: `message ${id}`,
        code,
        retryable: false,
      })
    this.appendChange(
      room,
      user,
      id,
      action.action === 'edit_message' ? action.content : undefined,
      action.local_id ?? undefined,
    )
  }

  private appendMessage(room: Room, author: string, content: string, localId: string | undefined): Entry {
    const message = (id: string): ChatMessage => ({
      id,
      ...(localId === undefined ? {} : { local_id: localId }),
      sender_id: author,
      content,
      timestamp: now(),
      status: 'sent',
    })
    const event = (position: string): Told => ({ type: 'chat_message', message: message(position), position })
    return this.told(room, room.append(author, localId, content, event, true))
  }

  private appendChange(
    room: Room,
    author: string,
    id: string,
    content: string | undefined,
    localId: string | undefined,
  ): Entry {
    const event = (position: string): Told => {
      const rest = {
        message_id: id,
        timestamp: now(),
        position,
        ...(localId === undefined ? {} : { local_id: localId }),
      }
      return content === undefined
        ? { type: 'message.deleted', deleted_by: author, ...rest }
        : { type: 'message.edited', edited_by: author, content, ...rest }
    }
    return this.told(room, room.append(author, localId, `${id} ${content}`, event, false))
  }

  private told(room: Room, entry: Entry): Entry {
    room.apply(entry)
    this.everybody(room, entry.event)
    if (this.options.storesAtOnce) this.store(room)
    return entry
  }

  private fetch(connection: FakeConnection, action: FetchAction): void {
    const { room, user } = connection
    const all = [...room.messages.values()].sort((a, b) => idOf(a.message.id) - idOf(b.message.id))
    const limit = Math.min(100, Math.max(1, action.limit ?? 20))
    const at = ({ message }: Kept) => idOf(message.id)
    const [before, after, around] = [action.before_id, action.after_id, action.around_id].map((id) =>
      id == null ? undefined : idOf(String(id)),
    )
    let rows = all
    let hasMore = false
    if (after !== undefined) {
      rows = all.filter((one) => at(one) > after)
      hasMore = rows.length > limit
      rows = rows.slice(0, limit)
    } else {
      const top = around ?? (before === undefined ? Number.POSITIVE_INFINITY : before - 1)
      rows = all.filter((one) => at(one) <= top)
      hasMore = rows.length > limit
      rows = rows.slice(-limit)
    }
    connection.tell({
      type: 'messages_fetched',
      conversation_id: 'fake',
      messages: rows.reverse().map((one) => room.row(one, user)),
      has_more: hasMore,
      ...(action.request_id == null ? {} : { request_id: action.request_id }),
    })
  }

  private tellStored(connection: FakeConnection): void {
    const { room } = connection
    if (this.options.isBase || !this.options.isDurable || room.storedId === 0) return
    connection.tell({ type: 'stored', epoch: room.epoch, up_to_id: String(room.storedId) })
  }

  private everybody(room: Room, frame: ServerFrame): void {
    for (const one of room.connections) one.tell(frame)
  }

  private others(connection: FakeConnection, frame: ServerFrame): void {
    for (const one of connection.room.connections) if (one.user !== connection.user) one.tell(frame)
  }
}

function now(): string {
  return new Date().toISOString()
}
