import { IDBFactory, IDBKeyRange } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { indexedDbStore, localStore, memoryStore } from '../../src/stores.js'
import type { OutboxItem, OutboxStore } from '../../src/types.js'
import { Device } from '../support/device.js'

const item = (localId: string, order: number): OutboxItem => ({
  localId,
  order,
  action: { kind: 'send', content: `“${localId}” \u0000 👩‍👩‍👧` },
  createdAt: '2026-01-01T00:00:00.000Z',
})

beforeEach(() => {
  vi.stubGlobal('indexedDB', new IDBFactory())
  vi.stubGlobal('IDBKeyRange', IDBKeyRange)
})
afterEach(() => {
  vi.unstubAllGlobals()
})

const makers: [string, () => OutboxStore][] = [
  ['memory', () => memoryStore()],
  ['localStorage', () => localStore(new Device().storage(() => true))],
  ['IndexedDB', () => indexedDbStore()],
]

describe.each(makers)('%s', (_, make) => {
  test('gives back what was put, by scope, the last of each name', async () => {
    const store = make()
    await store.put('one', item('a', 1))
    await store.put('one', item('b', 2))
    await store.put('one', item('a', 3))
    await store.put('other', item('c', 4))
    await store.put('one1', item('d', 5))
    await store.delete('one', 'b')
    await store.delete('one', 'never there')
    const names = async (scope: string) =>
      (await store.load(scope)).map(({ localId, order }) => `${localId}${order}`)
    expect([await names('one'), await names('other'), await names('none')]).toEqual([['a3'], ['c4'], []])
    expect(await store.load('one')).toEqual([item('a', 3)])
  })
})

describe('localStorage', () => {
  test('is written when put returns, and read by another tab', () => {
    const device = new Device()
    localStore(device.storage(() => true)).put('s', item('a', 1))
    expect(localStore(device.storage(() => true)).load('s')).toEqual([item('a', 1)])
  })

  test('leaves alone what it cannot read, and what is not its own', () => {
    const device = new Device()
    const storage = device.storage(() => true)
    for (const [key, text] of [
      ['parlance:s:1', 'no JSON'],
      ['parlance:s:2', 'null'],
      ['parlance:s:3', '{"localId":"x"}'],
      ['else', '{}'],
    ] as const) {
      storage.setItem(key, text)
    }
    expect(localStore(storage).load('s')).toEqual([])
    expect(device.entries.size).toBe(4)
  })

  test('throws when it is full', () => {
    const device = new Device()
    device.quotaBytes = 10
    expect(() => localStore(device.storage(() => true)).put('s', item('a', 1))).toThrow('quota')
  })
})

describe('IndexedDB', () => {
  test('is there after a reload, and tried again after it could not be opened', async () => {
    await indexedDbStore().put('s', item('a', 1))
    expect(await indexedDbStore().load('s')).toEqual([item('a', 1)])
    const store = indexedDbStore('another')
    const factory = globalThis.indexedDB
    vi.stubGlobal('indexedDB', {
      open: () => {
        const request = { error: new Error('private window'), onerror: () => {} }
        queueMicrotask(() => request.onerror())
        return request
      },
    })
    await expect(store.put('s', item('a', 1))).rejects.toThrow('private window')
    vi.stubGlobal('indexedDB', factory)
    await store.put('s', item('a', 1))
    expect(await store.load('s')).toHaveLength(1)
  })
})
