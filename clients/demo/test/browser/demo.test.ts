import axe from 'axe-core'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { DEADLINE_MS, Demo, type Look, launch, type Phone } from '../support/page.js'
import { Server } from '../support/server.js'
import { HOSTILE } from './hostile.js'

let browser: Browser
let server: Server
let open: Demo[] = []

beforeAll(async () => {
  browser = await launch()
})
afterAll(() => browser?.close())

// Each test has a conversation of its own: the server is new.
beforeEach(async () => {
  server = await Server.start()
})
afterEach(async () => {
  const faults = open.flatMap((demo) => demo.faults)
  await Promise.all(open.map((demo) => demo.close()))
  open = []
  await server.stop()
  expect(faults).toEqual([])
})

async function phones(look: Look = {}): Promise<{ demo: Demo; alice: Phone; bob: Phone }> {
  const demo = await Demo.open(browser, server.url, look)
  open.push(demo)
  const [alice, bob] = [demo.phone('Alice'), demo.phone('Bob')]
  await alice.connected()
  await bob.connected()
  return { demo, alice, bob }
}

/** The browser itself tells of a server that is gone; nothing else may. */
function forgiveLostConnections(demo: Demo): void {
  const lost = /WebSocket connection to 'ws:.*ERR_CONNECTION_REFUSED/
  demo.faults.splice(0, demo.faults.length, ...demo.faults.filter((fault) => !lost.test(fault)))
}

async function eventually<T>(get: () => Promise<T>, wanted: T): Promise<void> {
  await expect.poll(get, { timeout: DEADLINE_MS }).toEqual(wanted)
}

test('the page asks for nothing but its documents, its files and its sockets', async () => {
  const { demo, alice, bob } = await phones()
  await alice.write('hello')
  await bob.message('hello').waitFor()

  // The picture is the page's icon as well, which is of no type.
  const asked = demo.requests.map(({ type, url }) => `${type} ${new URL(url).pathname}`.replace('other', 'image'))

  expect([...new Set(asked)].sort()).toEqual([
    'document /demo',
    'document /demo/alice',
    'document /demo/bob',
    'image /demo/icon.svg',
    'script /demo/page.js',
    'script /demo/phone.js',
    'stylesheet /demo/page.css',
    'stylesheet /demo/phone.css',
    'websocket /conversations/lobby/',
  ])
  const hosts = new Set(demo.requests.map(({ url }) => new URL(url).host))
  expect([...hosts]).toEqual([new URL(server.url).host])
  expect(demo.requests.filter(({ url }) => url.includes('eyJ'))).toEqual([])
})

test('a message goes from one phone to the other, and its ticks to read', async () => {
  const { alice, bob } = await phones()
  await alice.write('Are you there?')
  await bob.message('Are you there?').waitFor()
  await alice.tick('Are you there?', 'read').waitFor()
  await bob.write('Yes')
  await alice.message('Yes').waitFor()
  expect(await alice.contents()).toEqual(['Are you there?', 'Yes'])
})

test('without the other phone a message is only sent, and read when that comes back', async () => {
  const { alice, bob } = await phones()
  await bob.control('Kill the tab')
  await alice.frame.locator('.doing', { hasText: 'offline' }).waitFor()
  await alice.write('Later then')
  await alice.tick('Later then', 'sent').waitFor()
  await bob.control('Come back')
  await bob.message('Later then').waitFor()
  await bob.log.getByText('New messages').waitFor()
  await alice.tick('Later then', 'read').waitFor()
})

test('who types is seen, and that they stopped', async () => {
  const { alice, bob } = await phones()
  await alice.field.pressSequentially('I am')
  await bob.frame.locator('.doing', { hasText: 'typing…' }).waitFor()
  await bob.log.locator('.typing').waitFor()
  await alice.field.fill('')
  await bob.frame.locator('.doing', { hasText: 'online' }).waitFor()
  expect(await bob.log.locator('.typing').count()).toBe(0)
})

test('edits and deletions are seen on the other side', async () => {
  const { alice, bob } = await phones()
  await alice.write('helo')
  await alice.tick('helo', 'read').waitFor()
  await alice.message('helo').getByRole('button').click()
  await alice.frame.getByRole('menuitem', { name: 'Edit' }).click()
  await alice.write('hello')
  await bob.message('hello').getByText('edited').waitFor()

  await alice.message('hello').getByRole('button').click()
  await alice.frame.getByRole('menuitem', { name: 'Delete' }).click()
  await bob.log.getByText('This message was deleted').waitFor()
  expect(await bob.message('hello').count()).toBe(0)
})

test('by keyboard alone one sends, breaks lines, edits and deletes', async () => {
  const { alice, bob } = await phones()
  const { keyboard } = alice.page
  await alice.field.focus()
  await keyboard.type('one')
  await keyboard.press('Shift+Enter')
  await keyboard.type('two')
  await keyboard.press('Enter')
  await alice.tick('one two', 'read').waitFor()
  expect(await bob.contents()).toEqual(['one\ntwo'])

  await keyboard.press('ArrowUp')
  await keyboard.press('End')
  await keyboard.type('!')
  await keyboard.press('Enter')
  await bob.message('one two!').getByText('edited').waitFor()

  await keyboard.type('second')
  await keyboard.press('Enter')
  await alice.tick('second', 'read').waitFor()
  await keyboard.press('Shift+Tab')
  await keyboard.press('ArrowUp')
  await keyboard.press('Enter')
  await keyboard.press('ArrowDown')
  await keyboard.press('Enter')
  await bob.log.getByText('This message was deleted').waitFor()
  expect(await bob.contents()).toEqual(['This message was deleted', 'second'])
})

test('what was written offline survives a closed tab, and arrives once and in order', async () => {
  const { alice, bob } = await phones()
  await alice.control('Go offline')
  await alice.state('Offline')
  for (const text of ['first', 'second', 'third']) await alice.write(text)
  await alice.tick('third', 'queued').waitFor()
  await alice.frame.locator('.detail', { hasText: '3 messages wait on this device' }).waitFor()
  await alice.control('Kill the tab')
  await alice.seat.getByText('The tab is closed').waitFor()
  await alice.control('Come back')
  await alice.state('Offline')
  await alice.tick('third', 'queued').waitFor()

  await alice.control('Back online')

  await alice.tick('third', 'read').waitFor()
  await eventually(() => alice.contents(), ['first', 'second', 'third'])
  await eventually(() => bob.contents(), ['first', 'second', 'third'])
})

test('a connection that is cut comes back by itself, with what was written meanwhile', async () => {
  const { alice, bob } = await phones()
  await alice.write('before')
  await alice.tick('before', 'read').waitFor()
  await alice.control('Cut the connection')
  await alice.write('meanwhile')
  await bob.write('from the other side')
  await alice.connected()
  await alice.tick('meanwhile', 'read').waitFor()
  await bob.tick('from the other side', 'read').waitFor()
  const all = await bob.contents()
  expect(all.toSorted()).toEqual(['before', 'from the other side', 'meanwhile'])
  await eventually(() => alice.contents(), all)
})

test('when the gateway is killed and started again, nothing is lost or there twice', async () => {
  const { demo, alice, bob } = await phones()
  await alice.write('before')
  await alice.tick('before', 'read').waitFor()
  await server.kill()
  await alice.state('Connection lost')
  await alice.write('while it was gone')
  await bob.state('Connection lost')

  await server.begin()

  await alice.tick('while it was gone', 'read').waitFor()
  await bob.write('welcome back')
  await bob.tick('welcome back', 'read').waitFor()
  const all = ['before', 'while it was gone', 'welcome back']
  await eventually(() => alice.contents(), all)
  await eventually(() => bob.contents(), all)
  forgiveLostConnections(demo)
})

test(`${HOSTILE.length} hostile contents run no script and break no layout`, async () => {
  const { alice, bob } = await phones({ width: 1000 })
  for (const text of HOSTILE) {
    await alice.field.fill(text)
    await alice.field.press('Enter')
  }
  // What a text field does not take as it is, it does not send as it is either.
  const sent = HOSTILE.filter((text) => text.trim() !== '')
  await expect.poll(() => bob.bubbles.count(), { timeout: 60_000 }).toBe(sent.length)
  for (const phone of [alice, bob]) {
    const broken = await phone.log.evaluate((log) => {
      const { left, right } = log.getBoundingClientRect()
      const outside = [...log.querySelectorAll('.bubble')].filter((bubble) => {
        const box = bubble.getBoundingClientRect()
        return box.left < left || box.right > right
      })
      const { documentElement: page } = document
      return {
        hacked: 'hacked' in window || (parent !== null && 'hacked' in parent),
        outside: outside.map((bubble) => bubble.textContent?.slice(0, 80)),
        scrolls: log.scrollWidth > log.clientWidth || page.scrollWidth > page.clientWidth,
        markup: log.querySelectorAll('script, img, iframe, style, base, meta, a, form').length,
      }
    })
    expect(broken).toEqual({ hacked: false, outside: [], scrolls: false, markup: 0 })
  }
  const shown = await bob.contents()
  expect(shown).toEqual(await alice.contents())
  expect(shown.slice(0, 18)).toEqual(sent.slice(0, 18))
  expect(await alice.seat.locator('.frame').count()).toBe(200)
  const isWide = await alice.page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
  expect(isWide).toBe(false)
}, 180_000)

test('what is written faster than the server takes it is all sent, in order', async () => {
  await server.stop()
  server = await Server.start({ PARLANCE_LIMITS__ACTIONS_PER_SECOND: '10', PARLANCE_LIMITS__ACTIONS_BURST: '10' })
  const { alice, bob } = await phones()
  const texts = Array.from({ length: 40 }, (_, at) => `message ${at + 1}`)
  for (const text of texts) await alice.write(text)
  await bob.bubbles.nth(texts.length - 1).waitFor()
  expect(await bob.contents()).toEqual(texts)
  await alice.tick('message 40', 'read').waitFor()
})

test('names that are nothing but trouble are names', async () => {
  const { alice } = await phones()
  const users = ['__proto__', '<b>bold</b>', '\u202eevil', 'constructor']
  for (const user of users) await server.say(user, `I am ${user}`)
  await alice.bubbles.nth(users.length - 1).waitFor()
  expect(await alice.log.locator('.author').allTextContents()).toEqual(users)
  expect(await alice.contents()).toEqual(users.map((user) => `I am ${user}`))
  expect(await alice.log.locator('b').count()).toBe(0)
})

test('two hundred messages are paged in as one scrolls back, and what one reads stays in its place', async () => {
  const texts = Array.from({ length: 220 }, (_, at) => `message ${at + 1}`)
  await server.say('carol', ...texts)
  const { bob } = await phones()
  await bob.message('message 220').waitFor()
  expect(await bob.bubbles.count()).toBeLessThan(120)

  let first = await bob.bubbles.locator('.content').first().textContent()
  while (first !== 'message 1') {
    const moved = await bob.log.evaluate(async (log) => {
      const rows = () => [...log.querySelectorAll<HTMLElement>('.message')]
      const before = rows()[0]
      log.scrollTop = 0
      const place = before?.getBoundingClientRect().bottom
      await new Promise<void>((done) => {
        const look = () => (rows()[0] === before ? requestAnimationFrame(look) : done())
        look()
      })
      return Math.abs((before?.getBoundingClientRect().bottom ?? 0) - (place ?? 0))
    })
    expect(moved).toBeLessThan(2)
    first = await bob.bubbles.locator('.content').first().textContent()
  }

  expect(await bob.contents()).toEqual(texts)
  await bob.log.getByText('This is where it begins').waitFor()
  await bob.frame.getByRole('button', { name: 'Newest' }).click()
  await expect
    .poll(() => bob.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight))
    .toBeLessThan(2)
})

test('what was left out of a long absence is a row that loads it', async () => {
  await server.stop()
  server = await Server.start({ PARLANCE_LIMITS__RESUME_EVENTS: '20' })
  const { alice, bob } = await phones()
  await alice.write('before')
  await alice.tick('before', 'read').waitFor()
  await bob.control('Go offline')
  await bob.state('Offline')
  const texts = Array.from({ length: 130 }, (_, at) => `message ${at + 1}`)
  await server.say('carol', ...texts)
  await bob.control('Back online')
  await bob.message('message 130').waitFor()
  // One begins to read where one left, not at the end.
  await bob.log.getByText('New messages').waitFor()
  await bob.frame.getByRole('button', { name: /new messages/ }).waitFor()
  await bob.frame.getByRole('button', { name: '30 messages are not loaded' }).click()
  await eventually(() => bob.contents(), ['before', ...texts])
  expect(await bob.log.locator('.gap').count()).toBe(0)
})

test('a message that was refused says why, and can be tried again or discarded', async () => {
  await server.stop()
  server = await Server.start({ PARLANCE_LIMITS__CONTENT_BYTES: '100' })
  const { alice, bob } = await phones()
  const long = 'x'.repeat(101)
  await alice.write(long)
  await alice.frame.getByRole('alert').getByText('100 are allowed').waitFor()
  await alice.field.fill('')

  // Who was never connected does not know the limit.
  await alice.control('Go offline')
  await alice.control('Kill the tab')
  await alice.control('Come back')
  await alice.state('Offline')
  await alice.write(long)
  await alice.write('short')
  await alice.control('Back online')
  await bob.message('short').waitFor()
  await alice.tick(long, 'failed').waitFor()
  await alice.message(long).getByText('Not sent: ').waitFor()
  await alice.message(long).getByRole('button', { name: 'Try again' }).click()
  await alice.tick(long, 'failed').waitFor()
  await alice.message(long).getByRole('button', { name: 'Discard' }).click()
  await eventually(() => alice.contents(), ['short'])
})

test('what is scrolled out of the window is not read', async () => {
  // Of the phones, there is room for their heads alone.
  const { bob } = await phones({ width: 1000, height: 240 })
  for (const text of ['one', 'two', 'three', 'four', 'five']) {
    await server.say('carol', text)
    await bob.message(text).waitFor()
  }
  const reads = bob.seat.locator('.frame:has(.out) b', { hasText: /^read$/ })
  expect(await reads.count()).toBe(0)
  await bob.field.scrollIntoViewIfNeeded()
  await reads.waitFor()
})

test('the frames of a phone are shown without tokens, and can be opened and paused', async () => {
  const { alice } = await phones({ width: 1000 })
  await alice.write('watch this')
  const row = alice.seat.locator('.frame', { hasText: 'send_message' })
  await row.locator('summary').click()
  await row.locator('pre', { hasText: '"content": "watch this"' }).waitFor()
  const strip = alice.seat.locator('.frames')
  expect(await strip.textContent()).not.toContain('eyJ')
  await alice.seat.getByRole('button', { name: 'Pause' }).click()
  const before = await strip.locator('.frame').count()
  await alice.write('unseen')
  await alice.tick('unseen', 'read').waitFor()
  expect(await strip.locator('.frame').count()).toBe(before)
  await alice.seat.getByRole('button', { name: 'Resume' }).click()
  await strip.locator('.preview', { hasText: '"content":"unseen"' }).first().waitFor()
})

test('on a narrow screen one phone is shown at a time, and the other tells of what is new', async () => {
  const demo = await Demo.open(browser, server.url, { width: 360, height: 740 })
  open.push(demo)
  const [alice, bob] = [demo.phone('Alice'), demo.phone('Bob')]
  await alice.connected()
  await alice.write('Are you looking?')
  const tab = demo.page.getByRole('button', { name: /^Bob/ })
  expect([await alice.seat.isVisible(), await bob.seat.isVisible()]).toEqual([true, false])
  await tab.getByText('1 new').waitFor()
  await alice.tick('Are you looking?', 'delivered').waitFor()
  await tab.click()
  await bob.message('Are you looking?').waitFor()
  await demo.page.getByRole('button', { name: 'Alice' }).click()
  await alice.tick('Are you looking?', 'read').waitFor()
  const isWide = await demo.page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
  expect(isWide).toBe(false)
})

test.each([
  ['light', {}],
  ['dark', { dark: true }],
  ['narrow', { width: 360, height: 740 }],
])('axe finds nothing that keeps people out: %s', async (_, look) => {
  const demo = await Demo.open(browser, server.url, look)
  open.push(demo)
  const alice = demo.phone('Alice')
  await alice.connected()
  await alice.write('hello')
  await alice.message('hello').waitFor()
  await alice.control('Go offline')
  await alice.write('later')
  await alice.tick('later', 'queued').waitFor()
  for (const frame of demo.page.frames()) {
    // By the protocol of the debugger, so that the policy of the page stands.
    await frame.evaluate(axe.source)
    const violations = await frame.evaluate(async () => {
      const { axe } = globalThis as unknown as { axe: typeof import('axe-core') }
      return (await axe.run({ iframes: false })).violations
    })
    expect(violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])).toEqual([])
  }
})

test('a page of another origin can neither read the tokens nor frame the phones', async () => {
  const plain = await fetch(`${server.url}/demo/alice`)
  expect(plain.headers.get('content-security-policy')).toContain("frame-ancestors 'self'")
  expect(plain.headers.get('access-control-allow-origin')).toBe(null)
})
