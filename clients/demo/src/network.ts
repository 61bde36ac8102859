/**
 * The network of a phone, which can be taken away: the client gets its sockets from here. They are real
 * ones, and a cut is told to the client as a lost connection is, without a close.
 */

import type { Environment, WebSocketLike } from '@parlance/client'

/** What the server is told of a socket that is cut: it is no goodbye, so the user is not away at once. */
const CUT = 4000

export class Network {
  private readonly open = new Set<Line>()

  constructor(private isOnline: boolean) {}

  environment(): Partial<Environment> {
    const network = this
    return {
      isOnline: () => this.isOnline,
      WebSocket: class extends Line {
        constructor(url: string, protocols?: string[]) {
          super(url, protocols, network.isOnline, (line) => network.open.delete(line))
          network.open.add(this)
        }
      },
    }
  }

  /** All connections are lost, as by a router that is switched off and on. */
  cut(): void {
    for (const line of [...this.open]) line.cut()
  }

  /** The client hears of it by the events that it hears of a real change by, when nothing gets through any more. */
  set(isOnline: boolean): void {
    this.isOnline = isOnline
    if (!isOnline) this.cut()
    dispatchEvent(new Event(isOnline ? 'online' : 'offline'))
  }
}

/** One socket. */
class Line implements WebSocketLike {
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  private readonly socket: WebSocket | undefined

  constructor(
    url: string,
    protocols: string[] | undefined,
    isOnline: boolean,
    private readonly onEnd: (line: Line) => void,
  ) {
    if (!isOnline) {
      queueMicrotask(() => this.ended(1006, ''))
      return
    }
    this.socket = new WebSocket(url, protocols)
    this.socket.onopen = () => this.onopen?.()
    this.socket.onmessage = ({ data }) => this.onmessage?.({ data })
    this.socket.onclose = ({ code, reason }) => this.ended(code, reason)
    this.socket.onerror = () => this.onerror?.()
  }

  send(text: string): void {
    this.socket?.send(text)
  }

  close(code?: number, reason?: string): void {
    this.socket?.close(code, reason)
  }

  cut(): void {
    if (this.socket) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null
      this.socket.close(CUT)
    }
    this.ended(1006, '')
  }

  private ended(code: number, reason: string): void {
    this.onEnd(this)
    this.onclose?.({ code, reason })
  }
}
