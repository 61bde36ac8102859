/**
 * Hooks for React 18 and later.
 *
 * A conversation is connected while a component that uses it is mounted, and for a second longer: so
 * neither StrictMode nor a change of pages makes a second connection.
 *
 * @module
 */

import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useMemo,
  useSyncExternalStore,
} from 'react'
import type {
  ChatClient,
  Connection,
  Conversation,
  Fetched,
  FetchOptions,
  Sent,
  Snapshot,
  Typist,
} from '../index.js'

/** How long a conversation stays open that no component uses (any more). */
const LINGER_MS = 1_000

interface Use {
  readonly conversation: Conversation
  components: number
  closing?: ReturnType<typeof setTimeout>
}

const uses = new WeakMap<Conversation, Use>()
const Context = createContext<ChatClient | undefined>(undefined)

/** Gives the client to all hooks below. */
export function ChatProvider(props: { client: ChatClient; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: props.client }, props.children)
}

/** The client of the next {@link ChatProvider} above. Throws if there is none. */
export function useChatClient(): ChatClient {
  const client = useContext(Context)
  if (!client) throw new Error('there is no <ChatProvider client={…}> above this component')
  return client
}

/** What can be done in a conversation: methods of `Conversation`, always the same functions. */
export interface ConversationActions {
  send(content: string): Sent
  edit(id: string, content: string): Sent
  delete(id: string): Sent
  retry(localId: string): Sent
  discard(localId: string): void
  /** `typing` of `Conversation`. */
  setTyping(isTyping?: boolean): void
  markRead(upToId?: string): void
  fetchMore(options?: FetchOptions): Promise<Fetched>
}

/** All that is known of a conversation, and what can be done in it. */
export function useConversation(id: string): Snapshot & ConversationActions {
  const conversation = useOpen(id)
  const snapshot = useSelected(conversation, same)
  return useMemo(() => ({ ...snapshot, ...actionsOf(conversation) }), [conversation, snapshot])
}

/** The state of the connection. */
export function useConnection(id: string): Connection {
  return useSelected(useOpen(id), connectionOf)
}

/** Who types, and what to call at each key press. */
export function useTyping(id: string): readonly [readonly Typist[], (isTyping?: boolean) => void] {
  const conversation = useOpen(id)
  const typists = useSelected(conversation, typingOf)
  return [typists, actionsOf(conversation).setTyping]
}

/** Which other users are here; `count` is larger than the list in a crowd. */
export function usePresence(id: string): { readonly online: readonly string[]; readonly count: number } {
  const conversation = useOpen(id)
  const online = useSelected(conversation, onlineOf)
  const count = useSelected(conversation, countOf)
  return useMemo(() => ({ online, count }), [online, count])
}

/** How many messages this user has not read. */
export function useUnread(id: string): number {
  return useSelected(useOpen(id), unreadOf)
}

const same = (snapshot: Snapshot): Snapshot => snapshot
const connectionOf = ({ connection }: Snapshot): Connection => connection
const typingOf = ({ typing }: Snapshot): readonly Typist[] => typing
const onlineOf = ({ online }: Snapshot): readonly string[] => online
const countOf = ({ online, onlineCount }: Snapshot): number => onlineCount ?? online.length
const unreadOf = ({ unread }: Snapshot): number => unread

function useOpen(id: string): Conversation {
  const conversation = useChatClient().conversation(id)
  entryOf(conversation)
  return conversation
}

function useSelected<T>(conversation: Conversation, select: (snapshot: Snapshot) => T): T {
  const subscribe = useCallback(
    (listener: () => void) => {
      const release = acquire(conversation)
      const off = conversation.subscribe(listener)
      return () => {
        off()
        release()
      }
    },
    [conversation],
  )
  const get = () => select(conversation.getSnapshot())
  return useSyncExternalStore(subscribe, get, get)
}

/** One that was made for a rendering that is never shown is closed again. */
function entryOf(conversation: Conversation): Use {
  const known = uses.get(conversation)
  if (known) return known
  const use: Use = { conversation, components: 0 }
  uses.set(conversation, use)
  closeSoon(use)
  return use
}

function acquire(conversation: Conversation): () => void {
  const use = entryOf(conversation)
  clearTimeout(use.closing)
  use.components += 1
  conversation.connect()
  return () => {
    use.components -= 1
    if (use.components === 0) closeSoon(use)
  }
}

function closeSoon(use: Use): void {
  clearTimeout(use.closing)
  use.closing = setTimeout(() => void use.conversation.close(), LINGER_MS)
}

const actions = new WeakMap<Conversation, ConversationActions>()

function actionsOf(conversation: Conversation): ConversationActions {
  const known = actions.get(conversation)
  if (known) return known
  const made: ConversationActions = {
    send: (content) => conversation.send(content),
    edit: (id, content) => conversation.edit(id, content),
    delete: (id) => conversation.delete(id),
    retry: (localId) => conversation.retry(localId),
    discard: (localId) => conversation.discard(localId),
    setTyping: (isTyping) => conversation.typing(isTyping),
    markRead: (upToId) => conversation.markRead(upToId),
    fetchMore: (options) => conversation.fetchMore(options),
  }
  actions.set(conversation, made)
  return made
}
