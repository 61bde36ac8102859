/** Where unsent actions are kept. */

import type { Environment, OutboxItem, OutboxStore } from './types.js'

/** For as long as the page lives, and for its tab alone. */
export function memoryStore(): OutboxStore {
  const scopes = new Map<string, Map<string, OutboxItem>>()
  const itemsOf = (scope: string) => {
    const items = scopes.get(scope) ?? new Map<string, OutboxItem>()
    scopes.set(scope, items)
    return items
  }
  return {
    load: (scope) => [...itemsOf(scope).values()],
    put: (scope, item) => void itemsOf(scope).set(item.localId, item),
    delete: (scope, localId) => void itemsOf(scope).delete(localId),
  }
}

/** In the browser's `localStorage`: written before `send` returns, shared by tabs, there after a reload. */
export function localStore(storage: NonNullable<Environment['localStorage']>): OutboxStore {
  // One entry per action: two tabs never write the same one.
  const prefixOf = (scope: string) => `parlance:${scope}:`
  return {
    load(scope) {
      const prefix = prefixOf(scope)
      const keys = Array.from({ length: storage.length }, (_, at) => storage.key(at) ?? '')
      return keys.filter((key) => key.startsWith(prefix)).flatMap((key) => read(storage.getItem(key)))
    },
    put: (scope, item) => storage.setItem(prefixOf(scope) + item.localId, JSON.stringify(item)),
    delete: (scope, localId) => storage.removeItem(prefixOf(scope) + localId),
  }
}

/**
 * In IndexedDB, for where `localStorage` is too small or missing. An action is sent when it is written.
 * `name` is the database's.
 */
export function indexedDbStore(name = 'parlance'): OutboxStore {
  let opened: Promise<IDBDatabase> | undefined
  const database = () => {
    opened ??= open(name).catch((error) => {
      opened = undefined
      throw error
    })
    return opened
  }
  const run = async <T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>) => {
    const transaction = (await database()).transaction(OUTBOX, mode)
    return finished(ask(transaction.objectStore(OUTBOX)))
  }
  return {
    load: (scope) => run('readonly', (store) => store.getAll(IDBKeyRange.bound([scope], [scope, []]))),
    put: async (scope, item) => {
      await run('readwrite', (store) => store.put(item, [scope, item.localId]))
    },
    delete: (scope, localId) => run('readwrite', (store) => store.delete([scope, localId])),
  }
}

const OUTBOX = 'outbox'

function open(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(OUTBOX)
  return finished(request)
}

function finished<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** What cannot be read was not written by this: it is left out. */
function read(text: string | null): OutboxItem[] {
  try {
    const item = JSON.parse(text ?? '')
    return typeof item?.localId === 'string' && typeof item.order === 'number' && item.action ? [item] : []
  } catch {
    return []
  }
}
