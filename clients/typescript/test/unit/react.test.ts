// @vitest-environment happy-dom
/** The hooks, with a socket that the test speaks on. */

import { act, cleanup, render } from '@testing-library/react'
import { createElement, type ReactNode, StrictMode } from 'react'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ChatClient, type WebSocketLike } from '../../src/index.js'
import {
  ChatProvider,
  useConnection,
  useConversation,
  usePresence,
  useTyping,
  useUnread,
} from '../../src/react/index.js'
import { HELLO } from '../support/hello.js'

class Socket implements WebSocketLike {
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  onerror: (() => void) | null = null
  readonly sent: { action: string; is_typing?: boolean }[] = []
  closedWith: number | undefined

  constructor() {
    sockets.push(this)
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }

  close(code?: number): void {
    this.closedWith = code
  }

  say(...frames: object[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) })
  }

  /** Up to where all is live. */
  begin(): void {
    this.onopen?.()
    this.say(HELLO, { type: 'live', position: '0' })
  }
}

let sockets: Socket[] = []
let client: ChatClient
let renders: Record<string, unknown>[] = []

const fromBob = (id: string) => ({
  type: 'chat_message',
  message: {
    id,
    sender_id: 'bob',
    content: `message ${id}`,
    timestamp: '2026-01-01T00:00:00.000Z',
    status: 'sent',
  },
  position: id,
})

/** Draws what a hook gives, and keeps it. */
function Shows({ use }: { use: () => unknown }): ReactNode {
  renders.push({ value: use() })
  return null
}

/** Suspended at once: it is drawn and never mounted. */
function Never(): ReactNode {
  useConversation('other')
  throw new Promise(() => {})
}

const drawn = (use: () => unknown) =>
  createElement(StrictMode, null, createElement(ChatProvider, { client }, createElement(Shows, { use })))
const last = () => renders.at(-1)?.value

async function settle(): Promise<void> {
  await act(async () => {
    await vi.advanceTimersByTimeAsync(0)
  })
}

async function show(use: () => unknown): Promise<{ socket: Socket; unmount: () => void }> {
  const { unmount } = render(drawn(use))
  await settle()
  const socket = sockets[0] as Socket
  act(() => socket.begin())
  return { socket, unmount }
}

beforeEach(() => {
  vi.useFakeTimers()
  sockets = []
  renders = []
  client = new ChatClient({
    url: 'ws://server',
    userId: 'alice',
    getToken: () => 'token',
    outbox: 'memory',
    environment: { WebSocket: Socket, watch: () => () => {} },
  })
})

afterEach(async () => {
  cleanup()
  await client.close()
  vi.useRealTimers()
})

describe('a conversation in a component', () => {
  test('is connected once, even when it is mounted twice', async () => {
    await show(() => useConversation('room').connection.state)
    await act(async () => {
      await vi.advanceTimersByTimeAsync(5_000)
    })
    expect(sockets).toHaveLength(1)
    expect(sockets[0]?.closedWith).toBeUndefined()
    expect(last()).toBe('connected')
  })

  test('stays for a second after the last component, and is closed then', async () => {
    const { socket, unmount } = await show(() => useConversation('room').connection.state)
    unmount()
    await vi.advanceTimersByTimeAsync(999)
    expect(socket.closedWith).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(socket.closedWith).toBe(1000)
  })

  test('goes on when another component takes it within that second', async () => {
    const { socket, unmount } = await show(() => useUnread('room'))
    unmount()
    await vi.advanceTimersByTimeAsync(500)
    render(drawn(() => useConnection('room').state))
    await vi.advanceTimersByTimeAsync(5_000)
    expect(socket.closedWith).toBeUndefined()
    expect(sockets).toHaveLength(1)
    expect(last()).toBe('connected')
  })

  test('that nobody came to show is closed again', async () => {
    const close = vi.fn()
    const original = client.conversation('other').close
    client.conversation('other').close = () => {
      close()
      return original.call(client.conversation('other'))
    }
    render(createElement(ChatProvider, { client }, createElement(Never)))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(close).toHaveBeenCalledOnce()
    expect(sockets).toHaveLength(0)
  })
})

describe('what the hooks give', () => {
  test('messages, and functions that never change', async () => {
    const sends = new Set<unknown>()
    const { socket } = await show(() => {
      const { messages, send } = useConversation('room')
      sends.add(send)
      return messages.map((message) => message.content)
    })
    act(() => socket.say(fromBob('1'), fromBob('2')))
    expect(last()).toEqual(['message 1', 'message 2'])
    const [send] = sends as Set<(content: string) => void>
    act(() => send?.('mine'))
    expect(last()).toEqual(['message 1', 'message 2', 'mine'])
    expect(socket.sent.at(-1)).toMatchObject({ action: 'send_message', content: 'mine' })
    expect(sends.size).toBe(1)
  })

  test('how many are unread, and no drawing for what does not change that', async () => {
    const { socket } = await show(() => useUnread('room'))
    act(() => socket.say(fromBob('1'), fromBob('2')))
    expect(last()).toBe(2)
    const before = renders.length
    act(() =>
      socket.say({ type: 'typing', user_id: 'bob', username: 'Bob', is_typing: true }, { type: 'heartbeat' }),
    )
    expect(renders).toHaveLength(before)
  })

  test('who types, and a way to tell', async () => {
    let tell: ((isTyping?: boolean) => void) | undefined
    const { socket } = await show(() => {
      const [typists, setTyping] = useTyping('room')
      tell = setTyping
      return typists
    })
    act(() => socket.say({ type: 'typing', user_id: 'bob', username: 'Bob', is_typing: true }))
    expect(last()).toEqual([{ userId: 'bob', username: 'Bob' }])
    act(() => {
      tell?.()
      tell?.()
    })
    expect(socket.sent.filter(({ action }) => action === 'typing')).toEqual([
      { action: 'typing', is_typing: true },
    ])
  })

  test('who is here', async () => {
    const { socket } = await show(() => usePresence('room'))
    act(() => socket.say({ type: 'user_status', user_id: 'bob', status: 'online', timestamp: '' }))
    expect(last()).toEqual({ online: ['bob'], count: 1 })
    act(() => socket.say({ type: 'presence', count: 250, sample: ['bob', 'carol'] }))
    expect(last()).toEqual({ online: ['bob', 'carol'], count: 250 })
  })

  test('a clear word where the provider is missing', () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const bare = createElement(Shows, { use: () => useUnread('room') })
    expect(() => render(bare)).toThrow('there is no <ChatProvider client={…}> above this component')
  })
})
