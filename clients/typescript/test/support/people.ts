/** People in front of tabs, for tests: a client each, with what it heard and wrote. */

import { ChatClient } from '../../src/client.js'
import type { Conversation } from '../../src/conversation.js'
import type { ClientOptions, ConversationEvents, Message, Snapshot } from '../../src/types.js'
import { Device, type Tab } from './device.js'

/** What the suites need of a server. */
export interface ServerHandle {
  readonly url: string
  token(userId: string, ttlMs?: number, serial?: number): string
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface Person {
  readonly tab: Tab
  readonly client: ChatClient
  readonly chat: Conversation
  /** All frames, as `in {…}` and `out {…}`. */
  readonly frames: string[]
  /** Why tokens were asked for. */
  readonly tokens: string[]
}

const everybody: Person[] = []

/** Opens a tab of a user at a conversation, connected unless told otherwise. */
export function arrives(
  server: ServerHandle,
  userId: string,
  room: string,
  {
    device = new Device(),
    isConnected = true,
    ...options
  }: Partial<ClientOptions> & { device?: Device; isConnected?: boolean } = {},
): Person {
  const tab = device.tab()
  const frames: string[] = []
  const tokens: string[] = []
  const client = new ChatClient({
    url: server.url,
    userId,
    getToken: ({ reason }) => {
      tokens.push(reason)
      return server.token(userId)
    },
    backoff: { minMs: 5, maxMs: 40 },
    ...options,
    environment: { ...tab.environment(), ...options.environment },
    onFrame: (direction, text) => frames.push(`${direction} ${text}`),
  })
  const chat = client.conversation(room)
  if (isConnected) chat.connect()
  const person = { tab, client, chat, frames, tokens }
  everybody.push(person)
  return person
}

/** Everybody's pages go. For the end of a test. */
export function everybodyLeaves(): void {
  for (const { tab } of everybody.splice(0)) tab.kill()
}

/** Resolves with the first snapshot that is as told. What never comes to be is reported with what was there. */
export function until(
  chat: Conversation,
  what: string,
  holds: (snapshot: Snapshot) => boolean,
  limitMs = 15_000,
): Promise<Snapshot> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer)
      clearInterval(watch)
      off()
      settle()
    }
    const look = () => {
      const snapshot = chat.getSnapshot()
      if (holds(snapshot)) end(() => resolve(snapshot))
    }
    const timer = setTimeout(
      () => end(() => reject(new Error(`${what} did not happen; there is ${told(chat.getSnapshot())}`))),
      limitMs,
    )
    const off = chat.subscribe(look)
    // For what is not in the snapshot.
    const watch = setInterval(look, 5)
    look()
  })
}

/** The next event of a kind. */
export function next<K extends keyof ConversationEvents>(
  chat: Conversation,
  event: K,
): Promise<ConversationEvents[K]> {
  return new Promise((resolve) => {
    const off = chat.on(event, (value) => {
      off()
      resolve(value)
    })
  })
}

export function contents(chat: Conversation): string[] {
  return chat.getSnapshot().messages.map((message) => message.content)
}

/** All there is, read anew by somebody who was not there: oldest first. */
export async function wholeHistory(server: ServerHandle, userId: string, room: string): Promise<Message[]> {
  const reader = arrives(server, userId, room, { pageSize: 100 })
  const found: Message[] = []
  for await (const message of reader.chat.history()) found.push(message)
  await reader.chat.close()
  return found.reverse()
}

/** What the law speaks of: what rows say, without how far they came. */
export function facts(messages: readonly Message[]): object[] {
  return messages.map(({ id, content, senderId, isEdited, isDeleted, editedBy }) => ({
    id,
    content,
    senderId,
    isEdited,
    isDeleted,
    editedBy,
  }))
}

function told(snapshot: Snapshot): string {
  const { messages, ...rest } = snapshot
  const rows = messages
    .slice(-20)
    .map(
      ({ id, content, state, pending }) =>
        `${id ?? '-'} ${state ?? ''} ${pending ?? ''} ${content.slice(0, 40)}`,
    )
  return `${JSON.stringify(rest)}\n${messages.length} messages, the newest:\n${rows.join('\n')}`
}
