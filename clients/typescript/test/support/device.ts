/**
 * A browser, for tests: what tabs share (storage, locks, channels), and tabs whose sockets are real and
 * can be cut, made deaf, or killed together with their page.
 */

import { WebSocket } from 'ws'
import type { ChannelLike, Environment, Signal, WebSocketLike } from '../../src/types.js'

/** What the tabs of one user share. */
export class Device {
  readonly entries = new Map<string, string>()
  /** More bytes than this cannot be stored. */
  quotaBytes = Number.POSITIVE_INFINITY
  private readonly queues = new Map<string, Turn[]>()
  private readonly channels = new Map<string, Set<Member>>()

  tab(): Tab {
    return new Tab(this)
  }

  storage(isAlive: () => boolean): NonNullable<Environment['localStorage']> {
    const { entries } = this
    return {
      get length() {
        return entries.size
      },
      key: (at) => [...entries.keys()][at] ?? null,
      getItem: (key) => entries.get(key) ?? null,
      setItem: (key, value) => {
        if (!isAlive()) return
        if (value.length > this.quotaBytes) throw new Error('the quota has been exceeded')
        entries.set(key, value)
      },
      removeItem: (key) => {
        if (isAlive()) entries.delete(key)
      },
    }
  }

  /** Waits for the lock `name`, as `LockManager.request` does with a signal. */
  async lock(name: string, turn: Turn): Promise<void> {
    const queue = this.queues.get(name) ?? []
    this.queues.set(name, queue)
    queue.push(turn)
    if (queue[0] === turn) turn.start()
    await turn.ended
    const wasFirst = queue[0] === turn
    queue.splice(queue.indexOf(turn), 1)
    if (wasFirst) queue[0]?.start()
  }

  join(name: string, member: Member): void {
    const members = this.channels.get(name) ?? new Set()
    this.channels.set(name, members.add(member))
  }

  post(name: string, from: Member, data: unknown): void {
    for (const member of this.channels.get(name) ?? []) {
      if (member === from) continue
      const copy = structuredClone(data)
      setImmediate(() => member.hear(copy))
    }
  }

  leave(name: string, member: Member): void {
    this.channels.get(name)?.delete(member)
  }
}

interface Turn {
  readonly start: () => void
  readonly ended: Promise<void>
}

interface Member {
  hear(data: unknown): void
}

/** One page. */
export class Tab {
  /** Whether its sockets' frames from the server are swallowed, as if the way back were broken. */
  isDeaf = false
  /** Whether what it sends is swallowed, as if the way there were broken. */
  isMute = false
  /** How often a socket was asked for. */
  opened = 0
  readonly urls: string[] = []
  private isAlive = true
  private online = true
  private readonly sockets = new Set<WebSocket>()
  private readonly timers = new Set<() => void>()
  private readonly releases = new Set<() => void>()
  private readonly leaves = new Set<() => void>()
  private readonly watchers = new Set<(signal: Signal) => void>()
  private readonly device: Device

  constructor(device: Device) {
    this.device = device
  }

  get live(): number {
    return this.sockets.size
  }

  environment(): Partial<Environment> {
    const tab = this
    return {
      WebSocket: class {
        constructor(url: string, protocols?: string[]) {
          // biome-ignore lint/correctness/noConstructorReturn: a constructor is what the client wants
          return tab.socket(url, protocols) as never
        }
      } as unknown as Environment['WebSocket'],
      after: (ms, callback) => this.after(ms, callback),
      isOnline: () => this.online,
      watch: (listener) => {
        this.watchers.add(listener)
        return () => this.watchers.delete(listener)
      },
      localStorage: this.device.storage(() => this.isAlive),
      locks: { request: (...given: unknown[]) => this.lock(given) } as unknown as LockManager,
      channel: (name) => this.channel(name),
    }
  }

  /** The connection breaks: nobody says goodbye. */
  cut(): void {
    for (const socket of this.sockets) socket.terminate()
  }

  signal(signal: Signal): void {
    if (signal === 'online' || signal === 'offline') this.online = signal === 'online'
    for (const watcher of [...this.watchers]) watcher(signal)
  }

  /** The page is gone in this instant: nothing of it runs any more. */
  kill(): void {
    this.isAlive = false
    this.cut()
    for (const stop of this.timers) stop()
    for (const leave of this.leaves) leave()
    for (const release of this.releases) release()
    this.watchers.clear()
  }

  private after(ms: number, callback: () => void): () => void {
    if (!this.isAlive) return () => {}
    const timer = setTimeout(() => {
      this.timers.delete(stop)
      callback()
    }, ms)
    const stop = () => {
      clearTimeout(timer)
      this.timers.delete(stop)
    }
    this.timers.add(stop)
    return stop
  }

  private socket(url: string, protocols?: string[]): WebSocketLike {
    if (!this.isAlive || !this.online) throw new Error('there is no network')
    this.opened += 1
    this.urls.push(url)
    const socket = new WebSocket(url, protocols ?? [])
    this.sockets.add(socket)
    const like: WebSocketLike = {
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      send: (text) => {
        if (!this.isMute) socket.send(text)
      },
      close: (code, reason) => socket.close(code, reason),
    }
    const whileAlive = (act: () => void) => {
      if (this.isAlive) act()
    }
    socket.on('open', () => whileAlive(() => like.onopen?.()))
    socket.on('message', (data) => {
      if (!this.isDeaf) whileAlive(() => like.onmessage?.({ data: data.toString() }))
    })
    socket.on('close', (code, reason) => {
      this.sockets.delete(socket)
      whileAlive(() => like.onclose?.({ code, reason: reason.toString() }))
    })
    socket.on('error', () => whileAlive(() => like.onerror?.()))
    return like
  }

  private async lock(given: unknown[]): Promise<void> {
    const [name, { signal }, held] = given as [string, { signal: AbortSignal }, () => Promise<void>]
    const release = deferred()
    this.releases.add(release.resolve)
    let isHeld = false
    const start = () => {
      isHeld = true
      held().then(release.resolve, release.resolve)
    }
    signal.addEventListener('abort', () => {
      if (!isHeld) release.resolve()
    })
    await this.device.lock(name, { start, ended: release.promise })
    if (!isHeld) throw new Error('it left before its turn came')
  }

  private channel(name: string): ChannelLike {
    let isOpen = true
    const channel: ChannelLike = {
      onmessage: null,
      postMessage: (data) => {
        if (!isOpen) throw new Error('the channel is closed')
        this.device.post(name, member, data)
      },
      close: () => {
        isOpen = false
        this.device.leave(name, member)
      },
    }
    const member: Member = {
      hear: (data) => {
        if (isOpen && this.isAlive) channel.onmessage?.({ data })
      },
    }
    this.device.join(name, member)
    this.leaves.add(() => channel.close())
    return channel
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
