import { Conversation } from './conversation.js'
import { environment } from './environment.js'
import { ChatError } from './errors.js'
import { localStore, memoryStore } from './stores.js'
import type { ClientOptions, Environment, OutboxStore } from './types.js'

/** A user's conversations on one server. Makes no connection by itself. */
export class ChatClient {
  /** Whose client it is. */
  readonly userId: string
  private readonly options: ClientOptions
  private readonly world: Environment
  private readonly store: OutboxStore
  private readonly open = new Map<string, Conversation>()

  /** Throws a `ChatError` (`invalid_field`) for options that cannot work. */
  constructor(options: ClientOptions) {
    check(options)
    this.options = options
    this.userId = options.userId
    const world = environment(options.environment)
    if (typeof world.WebSocket !== 'function') {
      throw new ChatError('invalid_field', 'there is no WebSocket here: give one in `environment.WebSocket`')
    }
    const { store, isShared } = storeOf(options, world)
    this.store = store
    // What only this tab has, only this tab can send.
    this.world = isShared ? world : without(world)
  }

  /** The conversation with this id: the same object until it is closed. */
  conversation(id: string): Conversation {
    const known = this.open.get(id)
    if (known) return known
    const made = new Conversation(id, this.options, this.world, this.store, () => this.open.delete(id))
    this.open.set(id, made)
    return made
  }

  /** Closes all conversations. */
  async close(): Promise<void> {
    await Promise.all([...this.open.values()].map((conversation) => conversation.close()))
  }
}

function check({ url, userId, getToken }: ClientOptions): void {
  if (!/^(ws|http)s?:\/\/[^/]/.test(url)) {
    throw new ChatError('invalid_field', `url is "${url}"; give one like wss://chat.example.com`)
  }
  if (!userId) throw new ChatError('invalid_field', 'userId is empty; give the `sub` of the tokens')
  if (typeof getToken !== 'function') throw new ChatError('invalid_field', 'getToken is no function')
}

function storeOf({ outbox }: ClientOptions, world: Environment): { store: OutboxStore; isShared: boolean } {
  if (typeof outbox === 'object') return { store: outbox, isShared: true }
  if (outbox === 'memory' || !world.localStorage) return { store: memoryStore(), isShared: false }
  return { store: localStore(world.localStorage), isShared: true }
}

function without({ locks: _, channel: __, ...rest }: Environment): Environment {
  return rest
}
