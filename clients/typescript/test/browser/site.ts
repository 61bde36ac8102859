/** A web site with the built client, and tokens for whoever asks. Its pages do what tests tell them. */

import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import type { RealServer } from '../support/real-server.js'

const DIST = resolve(import.meta.dirname, '../../dist')
const PAGE =
  '<!doctype html><meta charset="utf-8"><title>a page</title><script type="module" src="/page.js"></script>'

/** In the page: `open` makes a conversation that `room` is, and `heard` what it told. */
const SCRIPT = `
import { ChatClient, ChatError, indexedDbStore } from '/client/index.js'
window.heard = []
window.open = ({ url, userId, conversation, outbox, tokens = [] }) => {
  const getToken = async ({ reason }) => {
    window.heard.push('token ' + reason)
    const next = tokens.shift() ?? { ttlMs: 3600000 }
    if (next.fails) throw new Error('no token now')
    const query = new URLSearchParams({ userId, ttlMs: next.ttlMs })
    return (await fetch('/token?' + query)).text()
  }
  const store = outbox === 'indexedDB' ? indexedDbStore() : outbox
  const options = { url, userId, getToken, backoff: { minMs: 50, maxMs: 500 } }
  window.client = new ChatClient({
    ...options,
    ...(store ? { outbox: store } : {}),
    onFrame: (direction, text) => window.heard.push(direction + ' ' + JSON.parse(text)[direction === 'in' ? 'type' : 'action']),
  })
  window.room = window.client.conversation(conversation)
  window.room.connect()
}
window.shown = () => window.room.getSnapshot().messages.map(({ senderId, content, state }) => [senderId, content, state ?? ''])
/** Waits until \`test\`, a function's text, holds of the snapshot. */
window.until = (test) => {
  const holds = new Function('snapshot', 'return ' + test)
  return new Promise((resolve) => {
    const look = () => {
      if (!holds(window.room.getSnapshot())) return
      off()
      resolve()
    }
    const off = window.room.subscribe(look)
    queueMicrotask(look)
  })
}
window.isReady = true
`

export class Site {
  private readonly server: Server

  constructor(gateway: RealServer) {
    this.server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://site')
      const say = (type: string, body: string | Buffer) => response.setHeader('content-type', type).end(body)
      if (url.pathname === '/') say('text/html', PAGE)
      else if (url.pathname === '/page.js') say('text/javascript', SCRIPT)
      else if (url.pathname === '/client/index.js')
        say('text/javascript', readFileSync(resolve(DIST, 'index.js')))
      else if (url.pathname === '/token') {
        const { searchParams } = url
        say('text/plain', gateway.token(searchParams.get('userId') ?? '', Number(searchParams.get('ttlMs'))))
      } else response.writeHead(404).end()
    })
  }

  async start(): Promise<string> {
    await new Promise<void>((listening) => this.server.listen(0, '127.0.0.1', listening))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }
}
