import { afterEach, describe, expect, test, vi } from 'vitest'
import { ChatClient } from '../../src/client.js'
import { environment } from '../../src/environment.js'
import { Tabs } from '../../src/tabs.js'
import type { ClientOptions, Signal } from '../../src/types.js'
import { Device } from '../support/device.js'

afterEach(() => {
  vi.unstubAllGlobals()
})

/** A browser's globals, as far as they are used. */
function browser(): { window: EventTarget; document: EventTarget & { visibilityState: string } } {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  vi.stubGlobal('document', document)
  vi.stubGlobal('addEventListener', window.addEventListener.bind(window))
  vi.stubGlobal('removeEventListener', window.removeEventListener.bind(window))
  return { window, document }
}

describe('the world of a browser', () => {
  test('tells of network and page, until it is undone', () => {
    const { window, document } = browser()
    const heard: Signal[] = []
    const undo = environment().watch((signal) => heard.push(signal))
    for (const event of ['offline', 'online', 'pagehide', 'pageshow']) window.dispatchEvent(new Event(event))
    document.dispatchEvent(new Event('resume'))
    document.visibilityState = 'hidden'
    document.dispatchEvent(new Event('visibilitychange'))
    document.visibilityState = 'visible'
    document.dispatchEvent(new Event('visibilitychange'))
    expect(heard).toEqual(['offline', 'online', 'frozen', 'shown', 'shown', 'hidden', 'shown'])
    undo()
    window.dispatchEvent(new Event('online'))
    document.dispatchEvent(new Event('resume'))
    expect(heard).toHaveLength(7)
  })

  test('may have no storage: reading it throws where cookies are forbidden', () => {
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, 'localStorage')
    Object.defineProperty(globalThis, 'localStorage', {
      configurable: true,
      get: () => {
        throw new Error('SecurityError')
      },
    })
    expect(environment()).not.toHaveProperty('localStorage')
    if (descriptor) Object.defineProperty(globalThis, 'localStorage', descriptor)
    else Reflect.deleteProperty(globalThis, 'localStorage')
  })

  test('is online unless it says otherwise', () => {
    vi.stubGlobal('navigator', { onLine: false })
    expect(environment().isOnline()).toBe(false)
    vi.stubGlobal('navigator', undefined)
    expect(environment().isOnline()).toBe(true)
  })

  test('does not wake at once for what is very far away', () => {
    vi.useFakeTimers()
    let woken = 0
    const stop = environment().after(2 ** 40, () => {
      woken += 1
    })
    vi.advanceTimersByTime(1_000_000)
    expect(woken).toBe(0)
    stop()
    vi.runAllTimers()
    expect(woken).toBe(0)
    vi.useRealTimers()
  })
})

describe('options', () => {
  const good: ClientOptions = {
    url: 'https://chat.example.com/',
    userId: 'alice',
    getToken: () => 't',
    environment: { WebSocket: class {} as never },
  }
  test.each([
    [{ url: 'chat.example.com' }, 'url'],
    [{ url: 'wss:///path' }, 'url'],
    [{ userId: '' }, 'userId'],
    [{ getToken: 'token' as never }, 'getToken'],
    [{ environment: { WebSocket: undefined as never } }, 'WebSocket'],
  ])('that cannot work are refused: %j', (bad, named) => {
    expect(() => new ChatClient({ ...good, ...bad })).toThrow(
      expect.objectContaining({ code: 'invalid_field', message: expect.stringContaining(named) }),
    )
  })

  test('a conversation is one object until it is closed', async () => {
    const client = new ChatClient(good)
    const first = client.conversation('a')
    expect([client.conversation('a') === first, client.conversation('b') === first]).toEqual([true, false])
    await client.close()
    expect(client.conversation('a')).not.toBe(first)
    await client.close()
  })
})

describe('tabs', () => {
  const hear = () => {
    const heard: string[] = []
    return {
      heard,
      onLead: (isLeader: boolean) => heard.push(isLeader ? 'lead' : 'end'),
      onTold: () => heard.push('change'),
    }
  }

  test('without locks each one sends', async () => {
    const ear = hear()
    const tabs = new Tabs('scope', {}, ear)
    tabs.want(true)
    await Promise.resolve()
    expect([tabs.isLeader, ear.heard]).toEqual([true, ['lead']])
    tabs.tell({ change: { gone: 'x' }, isLeaders: true })
    tabs.end()
  })

  test('one that ends before its turn never leads, and tells nothing more', async () => {
    const device = new Device()
    const [one, two, three] = [hear(), hear(), hear()]
    const world = () => device.tab().environment()
    const first = new Tabs('scope', world(), one)
    const second = new Tabs('scope', world(), two)
    const third = new Tabs('scope', world(), three)
    for (const tabs of [first, second, third]) tabs.want(true)
    second.end()
    second.tell({ change: { gone: 'x' }, isLeaders: true })
    first.end()
    await vi.waitUntil(() => three.heard.includes('lead'))
    expect([one.heard, two.heard, third.isLeader]).toEqual([['lead', 'end'], [], true])
    third.end()
  })
})
