/** The built client in real browsers, against the real server. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Conversation } from '../../src/index.js'
import { RealServer } from '../support/real-server.js'
import { type Browser, ENGINES, type Page } from './engines.js'
import { Site } from './site.js'

interface Opening {
  readonly userId: string
  readonly outbox?: 'indexedDB' | 'memory'
  /** How long tokens last, one after the other; those that fail are not given. */
  readonly tokens?: readonly { ttlMs?: number; fails?: boolean }[]
}

/** What `site.ts` puts into a page. */
interface InPage {
  readonly isReady?: boolean
  readonly heard: string[]
  readonly room: Conversation
  open(opening: Opening & { url: string; conversation: string }): void
  shown(): Shown
  until(test: string): Promise<void>
}

type Shown = [senderId: string, content: string, state: string][]

describe.each(ENGINES)('in $name', ({ launch, canBeOffline }) => {
  let browser: Browser
  let gateway: RealServer
  let site: Site
  let address: string
  let conversations = 0
  let conversation: string

  beforeAll(async () => {
    gateway = await RealServer.start()
    site = new Site(gateway)
    address = await site.start()
    browser = await launch()
  })

  afterAll(async () => {
    await browser?.close()
    site?.stop()
    await gateway?.stop()
  })

  beforeEach(() => {
    conversations += 1
    conversation = `room-${conversations}`
  })

  afterEach(() => {
    expect(browser.faults.splice(0)).toEqual([])
  })

  /** Opens the conversation in a page that may have been open before. */
  async function open(page: Page, opening: Opening): Promise<void> {
    await page.goto(address)
    await begin(page, opening)
  }

  async function begin(page: Page, opening: Opening): Promise<void> {
    await page.evaluate(
      async (given) => {
        const { window } = globalThis as unknown as { window: InPage }
        while (!window.isReady) await new Promise((frame) => requestAnimationFrame(frame))
        window.open(given)
      },
      { ...opening, url: gateway.url, conversation },
    )
  }

  const until = (page: Page, test: string) =>
    page.evaluate((given) => (globalThis as unknown as InPage).until(given), test)
  const shown = (page: Page): Promise<Shown> =>
    page.evaluate(() => (globalThis as unknown as InPage).shown(), undefined)
  const heard = (page: Page): Promise<string[]> =>
    page.evaluate(() => (globalThis as unknown as InPage).heard, undefined)
  const send = (page: Page, contents: readonly string[]) =>
    page.evaluate((given) => {
      for (const content of given) (globalThis as unknown as InPage).room.send(content)
    }, contents)
  const contents = async (page: Page) => (await shown(page)).map(([, content]) => content)
  const has = (count: number) => `snapshot.messages.filter((one) => one.id).length >= ${count}`
  const CONNECTED = "snapshot.connection.state === 'connected'"

  /** Waits until the database has so many unsent messages. */
  const untilKept = (page: Page, count: number) =>
    page.evaluate(async (wanted) => {
      const result = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve) => {
          request.onsuccess = () => resolve(request.result)
        })
      const database = await result(indexedDB.open('parlance'))
      const found = () => result(database.transaction('outbox').objectStore('outbox').count())
      while ((await found()) < wanted) await new Promise((frame) => requestAnimationFrame(frame))
      database.close()
    }, count)

  async function pair(): Promise<{ alice: Page; bob: Page; end: () => Promise<void> }> {
    const windows = [await browser.window(), await browser.window()] as const
    const [alice, bob] = [await windows[0].tab(), await windows[1].tab()]
    await open(alice, { userId: 'alice' })
    await open(bob, { userId: 'bob' })
    await Promise.all([until(alice, CONNECTED), until(bob, CONNECTED)])
    const end = async () => {
      await windows[0].close()
      await windows[1].close()
    }
    return { alice, bob, end }
  }

  test('what is said goes to the other, and ticks come back', async () => {
    const { alice, bob, end } = await pair()
    await send(alice, ['hello'])
    await until(bob, has(1))
    await bob.evaluate(() => (globalThis as unknown as InPage).room.markRead(), undefined)
    await until(alice, "snapshot.messages[0]?.state === 'read'")
    expect(await shown(alice)).toEqual([['alice', 'hello', 'read']])
    expect(await shown(bob)).toEqual([['alice', 'hello', '']])
    await end()
  })

  test.each(['localStorage', 'indexedDB'] as const)(
    'said while the gateway is away, then reloaded: one copy each in both windows (%s)',
    async (store) => {
      const outbox = store === 'indexedDB' ? { outbox: store } : {}
      const { alice, bob, end } = await pair()
      await open(alice, { userId: 'alice', ...outbox })
      await until(alice, CONNECTED)
      await gateway.kill()
      await send(alice, ['one', 'two', 'three'])
      if (store === 'indexedDB') await untilKept(alice, 3)
      await alice.reload()
      await begin(alice, { userId: 'alice', ...outbox })
      await until(alice, 'snapshot.messages.length === 3')
      await gateway.revive()
      await Promise.all([until(alice, has(3)), until(bob, has(3))])
      await until(alice, 'snapshot.queued === 0')
      expect(await contents(alice)).toEqual(['one', 'two', 'three'])
      expect(await contents(bob)).toEqual(['one', 'two', 'three'])
      await end()
    },
  )

  const testOffline = () =>
    test('said without a network, the tab closed, and opened again with one: one copy each', async () => {
      const { bob, end } = await pair()
      const window = await browser.window()
      const before = await window.tab()
      await open(before, { userId: 'carol' })
      await until(before, CONNECTED)
      await window.setOffline?.(true)
      await until(before, "snapshot.connection.state === 'offline'")
      await send(before, ['one', 'two'])
      await until(before, 'snapshot.queued === 2')
      await before.close()
      await window.setOffline?.(false)
      const after = await window.tab()
      await open(after, { userId: 'carol' })
      await Promise.all([until(after, has(2)), until(bob, has(2))])
      await until(after, 'snapshot.queued === 0')
      expect(await contents(after)).toEqual(['one', 'two'])
      expect(await contents(bob)).toEqual(['one', 'two'])
      await window.close()
      await end()
    })
  if (canBeOffline) testOffline()

  test('a tab that is closed while it sends is followed by the next, once each and in order', async () => {
    const { alice, bob, end: endPair } = await pair()
    const window = await browser.window()
    const [first, second] = [await window.tab(), await window.tab()]
    await open(first, { userId: 'carol' })
    await until(first, CONNECTED)
    await open(second, { userId: 'carol' })
    await until(second, CONNECTED)
    const all = Array.from({ length: 30 }, (_, at) => `message ${at}`)
    await send(first, all.slice(0, 20))
    await send(second, all.slice(20))
    await first.close()
    await Promise.all([until(second, has(30)), until(bob, has(30)), until(alice, has(30))])
    expect(await contents(bob)).toEqual(all)
    expect(await contents(second)).toEqual(all)
    await window.close()
    await endPair()
  })

  test('a token that ends is renewed within the connection', async () => {
    const window = await browser.window()
    const page = await window.tab()
    // Less than 30 s are left: the server warns at once.
    await open(page, { userId: 'alice', tokens: [{ ttlMs: 20_000 }] })
    await until(page, CONNECTED)
    await send(page, ['still here'])
    await until(page, has(1))
    await page.evaluate(async () => {
      const { heard } = globalThis as unknown as InPage
      while (!heard.includes('in auth_ok')) await new Promise((frame) => requestAnimationFrame(frame))
    }, undefined)
    const tokens = (await heard(page)).filter((one) => one.startsWith('token'))
    expect(tokens).toEqual(['token first', 'token expiring'])
    expect((await heard(page)).filter((one) => one === 'in hello')).toHaveLength(1)
    await window.close()
  })

  test('a token that ran out in the middle is replaced, and nothing is lost', async () => {
    const { alice, bob, end } = await pair()
    // Accepted for 3 s more, within what clocks may differ; renewing it fails.
    await open(alice, { userId: 'alice', tokens: [{ ttlMs: -27_000 }, { fails: true }] })
    await until(alice, CONNECTED)
    await send(alice, ['before'])
    await until(alice, "snapshot.connection.state !== 'connected'")
    await send(alice, ['between'])
    await Promise.all([until(alice, has(2)), until(bob, has(2))])
    expect(await heard(alice)).toContain('token rejected')
    expect(await contents(bob)).toEqual(['before', 'between'])
    await end()
  })

  test('the gateway restarts: both are back, everything is there once', async () => {
    const { alice, bob, end } = await pair()
    await send(alice, ['a'])
    await Promise.all([until(alice, has(1)), until(bob, has(1))])
    const restarted = gateway.restart()
    await send(alice, ['b'])
    await send(bob, ['c'])
    await restarted
    await Promise.all([until(alice, has(3)), until(bob, has(3))])
    const [ofAlice, ofBob] = [await contents(alice), await contents(bob)]
    expect(ofAlice).toEqual(ofBob)
    expect([...ofAlice].sort()).toEqual(['a', 'b', 'c'])
    await end()
  })

  test('ids of users that are words of the language are only names', async () => {
    const ids = ['__proto__', 'constructor', 'toString', '<b>', '"', '\u202eevil', '👩‍👩‍👧', ' ']
    const windows = await Promise.all(ids.map(() => browser.window()))
    const pages = await Promise.all(windows.map((window) => window.tab()))
    await Promise.all(pages.map((page, at) => open(page, { userId: ids[at] ?? '' })))
    await Promise.all(
      pages.map((page) => until(page, `${CONNECTED} && snapshot.online.length === ${ids.length - 1}`)),
    )
    for (const [at, page] of pages.entries()) await send(page, [`by ${ids[at]}`])
    const [watcher] = pages as [Page]
    await Promise.all(pages.map((page) => until(page, has(ids.length))))
    await Promise.all(
      pages.map((page) => page.evaluate(() => (globalThis as unknown as InPage).room.markRead(), undefined)),
    )
    await until(watcher, `snapshot.readBy.size === ${ids.length - 1}`)
    expect((await shown(watcher)).map(([sender, content]) => `${content}` === `by ${sender}`)).toEqual(
      ids.map(() => true),
    )
    const isClean = await watcher.evaluate(() => Object.keys(Object.prototype).length === 0, undefined)
    expect(isClean).toBe(true)
    await Promise.all(windows.map((window) => window.close()))
  })

  test('nothing but sockets leaves the page', async () => {
    browser.requests.splice(0)
    const { alice, bob, end } = await pair()
    await send(alice, ['hello'])
    await until(bob, has(1))
    const own = (url: string) => url.startsWith(address) && !url.includes('/token')
    const [socket, token] = [gateway.url, `${address}token`]
    const others = browser.requests.filter(
      (url) => !own(url) && !url.startsWith(socket) && !url.startsWith(token),
    )
    expect(others.filter((url) => !url.endsWith('/favicon.ico'))).toEqual([])
    expect(browser.requests.every((url) => !url.startsWith(socket) || !url.includes('token'))).toBe(true)
    await end()
  })
})
