import { afterEach, describe, expect, test } from 'vitest'
import type { Action } from '../../src/frames.js'
import { memoryStore } from '../../src/stores.js'
import type { OutboxStore } from '../../src/types.js'
import { Device } from '../support/device.js'
import { type FakeConnection, type FakeOptions, FakeServer } from '../support/fake-server.js'
import { arrives, contents, everybodyLeaves, facts, next, until, wholeHistory } from '../support/people.js'

let server: FakeServer
afterEach(async () => {
  everybodyLeaves()
  await server.stop()
})

const ROOM = 'room'

async function serve(options: FakeOptions = {}): Promise<void> {
  server = await FakeServer.start(options)
}

function sends(): Extract<Action, { action: 'send_message' }>[] {
  return server.heard.filter((action) => action.action === 'send_message')
}

/** Refuses each send as long as `isRefused`. */
function refuseSends(
  code: 'unavailable' | 'rate_limited' | 'invalid_content',
  isRefused: () => boolean,
): void {
  server.onAction = (connection, action, act) => {
    if (action.action !== 'send_message' || !isRefused()) return act()
    const [local_id, retryable] = [action.local_id ?? null, code !== 'invalid_content']
    connection.tell({
      type: 'message.failed',
      local_id,
      error: 'no',
      code,
      retryable,
      ...(retryable ? { retry_after_ms: 1 } : {}),
    })
  }
}

describe('refusals', () => {
  test('for now are tried again, in order', async () => {
    await serve()
    let left = 3
    refuseSends('unavailable', () => left-- > 0)
    const a = arrives(server, 'alice', ROOM)
    await Promise.all(['one', 'two'].map((content) => a.chat.send(content).accepted))
    expect(contents(a.chat)).toEqual(['one', 'two'])
    expect(sends().map(({ content, retry }) => [content, retry === true])).toEqual([
      ['one', false],
      ['one', true],
      ['one', true],
      ['one', true],
      ['two', false],
    ])
  })

  test('for being too fast are no tries, and signs of typing do not take the place of messages', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM, { maxAttempts: 3 })
    refuseSends('rate_limited', () => {
      const isRefused = sends().length <= 20
      if (isRefused) a.chat.typing(sends().length % 2 === 0)
      return isRefused
    })
    await a.chat.send('one').accepted
    expect(contents(a.chat)).toEqual(['one'])
    expect(sends()).toHaveLength(21)
    expect(server.heard.filter(({ action }) => action === 'typing')).toEqual([])
    a.chat.typing(true)
    await a.chat.send('two').accepted
    expect(server.heard.filter(({ action }) => action === 'typing')).toHaveLength(1)
  })

  test('are tried again in the same trace', async () => {
    await serve()
    refuseSends('unavailable', () => sends().length === 1)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const a = arrives(server, 'alice', ROOM)
    await a.chat.send('one', { traceparent }).accepted
    const id = a.chat.getSnapshot().messages[0]?.id ?? ''
    await a.chat.edit(id, 'changed', { traceparent }).accepted
    await a.chat.delete(id, { traceparent }).accepted
    await a.chat.send('two').accepted
    const acted = server.heard.filter((action) => 'local_id' in action)
    const traces = acted.map((action) => ('traceparent' in action ? action.traceparent : undefined))
    expect(traces).toEqual([traceparent, traceparent, traceparent, traceparent, undefined])
  })

  test('too many make it fail; it can be sent again under its name, or forgotten', async () => {
    await serve()
    let isDown = true
    refuseSends('unavailable', () => isDown)
    const a = arrives(server, 'alice', ROOM, { maxAttempts: 3 })
    const first = a.chat.send('one')
    await expect(first.accepted).rejects.toMatchObject({ code: 'unavailable', retryable: true })
    const second = a.chat.send('two')
    await expect(second.accepted).rejects.toMatchObject({ code: 'unavailable' })
    expect(sends()).toHaveLength(6)
    expect(a.chat.getSnapshot()).toMatchObject({
      queued: 0,
      messages: [
        { content: 'one', state: 'failed', error: { retryable: true } },
        { content: 'two', state: 'failed' },
      ],
    })
    isDown = false
    const again = a.chat.retry(first.localId)
    // A second tap.
    expect(a.chat.retry(first.localId).accepted).toBe(again.accepted)
    await again.accepted
    a.chat.discard(second.localId)
    expect(contents(a.chat)).toEqual(['one'])
    expect(() => a.chat.retry(second.localId)).toThrow(expect.objectContaining({ code: 'unknown_message' }))
    expect(sends().at(-1)).toMatchObject({ local_id: first.localId, retry: true })
    expect((await wholeHistory(server, 'bob', ROOM)).map(({ content }) => content)).toEqual(['one'])
  })

  test('for good fail at once, do not hold up what follows, and survive a reload', async () => {
    await serve()
    const device = new Device()
    refuseSends('invalid_content', () => sends().length === 1)
    const a = arrives(server, 'alice', ROOM, { device })
    const bad = a.chat.send('bad')
    const good = a.chat.send('good')
    await expect(bad.accepted).rejects.toMatchObject({ code: 'invalid_content', retryable: false })
    await good.accepted
    a.tab.kill()
    const later = arrives(server, 'alice', ROOM, { device })
    const { messages } = await until(later.chat, 'both are here', (now) => now.messages.length === 2)
    expect(messages).toMatchObject([
      { content: 'good' },
      { content: 'bad', state: 'failed', error: { code: 'invalid_content' } },
    ])
    expect(sends()).toHaveLength(2)
  })

  test('waiting for one under way does not lose its promise to a retry', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM, { isConnected: false })
    const sent = a.chat.send('queued')
    expect(a.chat.retry(sent.localId).accepted).toBe(sent.accepted)
    a.chat.connect()
    await sent.accepted
  })
})

describe('cancel', () => {
  test('takes back what did not leave, and only that', async () => {
    await serve()
    const device = new Device()
    const a = arrives(server, 'alice', ROOM, { device })
    await a.chat.ready()
    await a.chat.send('before').accepted
    server.onAction = () => {}
    const [out, waiting] = [a.chat.send('out'), a.chat.send('waiting')]
    expect([out.cancel(), waiting.cancel(), waiting.cancel()]).toEqual([false, true, false])
    await expect(waiting.accepted).rejects.toMatchObject({ code: 'cancelled' })
    expect(contents(a.chat)).toEqual(['before', 'out'])
    expect([...device.entries.values()].join()).not.toContain('waiting')
  })

  test('holds when another tab takes over before it heard of it', async () => {
    await serve()
    const device = new Device()
    const a = arrives(server, 'alice', ROOM, { device })
    await a.chat.ready()
    const b = arrives(server, 'alice', ROOM, { device })
    await b.chat.ready()
    a.tab.signal('offline')
    expect(a.chat.send('taken back').cancel()).toBe(true)
    a.tab.kill()
    await b.chat.send('kept').accepted
    expect(contents(b.chat)).toEqual(['kept'])
  })
})

describe('a server', () => {
  test('that does not answer is left, and asked again on another connection', async () => {
    await serve()
    let isDeaf = true
    server.onAction = (_, __, act) => {
      if (!isDeaf) act()
    }
    const a = arrives(server, 'alice', ROOM, { ackTimeoutMs: 50, pageSize: 10 })
    const sent = a.chat.send('hello')
    await until(a.chat, 'it is tried again', () => a.tab.opened >= 2)
    isDeaf = false
    await sent.accepted
    expect((await wholeHistory(server, 'bob', ROOM)).map(({ content }) => content)).toEqual(['hello'])
  })

  test('that does and says everything twice makes no second copy', async () => {
    await serve()
    server.onAction = (_, __, act) => {
      act()
      act()
    }
    server.onFrame = (_, frame) => [frame, frame]
    const a = arrives(server, 'alice', ROOM)
    const b = arrives(server, 'bob', ROOM)
    const news: string[] = []
    b.chat.on('message', ({ content }) => news.push(content))
    await b.chat.ready()
    for (const content of ['one', 'two', 'three']) await a.chat.send(content).accepted
    await a.chat.edit('1', 'uno').accepted
    await until(
      b.chat,
      'bob sees it',
      ({ messages }) => messages.length === 3 && messages[0]?.content === 'uno',
    )
    expect(contents(a.chat)).toEqual(['uno', 'two', 'three'])
    expect(news).toEqual(['one', 'two', 'three'])
    expect(b.chat.getSnapshot().unread).toBe(3)
  })

  test('that acknowledges late and in another order changes nothing', async () => {
    await serve()
    const held: (() => void)[] = []
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    server.onFrame = (connection, frame) => {
      if (frame.type !== 'chat_message' || frame.message.sender_id !== 'alice') return [frame]
      held.push(() => connection.tellText(JSON.stringify(frame)))
      if (held.length === 1) {
        queueMicrotask(() => {
          server.say(server.room(ROOM), 'bob', 'overtakes')
          for (const tell of held.splice(0).reverse()) tell()
        })
      }
      return []
    }
    for (const content of ['one', 'two']) await a.chat.send(content).accepted
    await until(a.chat, 'all four are here', ({ messages }) => messages.length === 4)
    expect(contents(a.chat)).toEqual(['one', 'overtakes', 'two', 'overtakes'])
    expect(facts(a.chat.getSnapshot().messages)).toEqual(facts(await wholeHistory(server, 'alice', ROOM)))
  })

  test('that answers before it told what happened earlier is asked for that when it is back', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await until(
      a.chat,
      'the empty page is here',
      ({ connection, isFetching }) => connection.state === 'connected' && !isFetching,
    )
    server.onFrame = (_, frame) =>
      frame.type === 'chat_message' && frame.message.sender_id === 'bob' ? [] : [frame]
    server.say(server.room(ROOM), 'bob', 'held back')
    await a.chat.send('answered').accepted
    server.onFrame = (_, frame) => [frame]
    a.tab.cut()
    await until(a.chat, 'it is told', ({ messages }) => messages.length === 2)
    expect(contents(a.chat)).toEqual(['held back', 'answered'])
  })

  test('that stores nothing ever is believed at the acknowledgement', async () => {
    await serve({ isDurable: false })
    const device = new Device()
    const a = arrives(server, 'alice', ROOM, { device })
    await a.chat.send('hello').accepted
    expect(device.entries.size).toBe(0)
  })

  test('is slow to say hello: what it acknowledged before is not forgotten', async () => {
    await serve({ storesAtOnce: false })
    const device = new Device()
    const before = arrives(server, 'alice', ROOM, { device })
    await before.chat.send('acknowledged').accepted
    before.tab.kill()
    let hello: (() => void) | undefined
    const held: [FakeConnection, string][] = []
    server.onFrame = (connection, frame) => {
      held.push([connection, JSON.stringify(frame)])
      hello = () => {
        server.onFrame = (_, one) => [one]
        for (const [one, text] of held) one.tellText(text)
      }
      return []
    }
    const a = arrives(server, 'alice', ROOM, { device })
    await until(a.chat, 'it is taken for a base server', ({ connection }) => connection.state === 'connected')
    expect(device.entries.size).toBe(1)
    hello?.()
    await a.chat.send('and on').accepted
    server.store(server.room(ROOM))
    await until(a.chat, 'all is stored', () => device.entries.size === 0)
  })
})

describe('what is acknowledged', () => {
  test('is kept until it is stored', async () => {
    await serve({ storesAtOnce: false })
    const device = new Device()
    const a = arrives(server, 'alice', ROOM, { device })
    await Promise.all(['one', 'two'].map((content) => a.chat.send(content).accepted))
    expect([...device.entries.values()].map((text) => JSON.parse(text))).toMatchObject([
      { acked: { position: '1', epoch: 0 } },
      { acked: { position: '2', epoch: 0 } },
    ])
    server.store(server.room(ROOM))
    server.say(server.room(ROOM), 'bob', 'after the store')
    await until(a.chat, 'bob was heard', ({ messages }) => messages.length === 3)
    expect(device.entries.size).toBe(0)
  })

  test('and then lost is sent again, under another id, with what was done to it', async () => {
    await serve({ storesAtOnce: false })
    const device = new Device()
    const room = server.room(ROOM)
    const a = arrives(server, 'alice', ROOM, { device })
    const b = arrives(server, 'bob', ROOM)
    await b.chat.ready()
    await a.chat.send('stored').accepted
    server.store(room)
    await a.chat.send('lost').accepted
    await b.chat.send('lost as well').accepted
    await a.chat.edit('2', 'lost, changed').accepted
    await until(b.chat, 'bob sees the change', ({ messages }) => messages[1]?.content === 'lost, changed')
    const removed = next(a.chat, 'removed')
    const keys = a.chat.getSnapshot().messages.map(({ key }) => key)
    server.lose(room, '1')
    expect((await removed).map(({ content }) => content)).toEqual(['lost as well'])
    for (const one of [a, b]) {
      await until(
        one.chat,
        'all is back',
        ({ messages, queued }) =>
          queued === 0 &&
          messages.length === 3 &&
          messages.some(({ content }) => content === 'lost, changed'),
      )
    }
    const history = await wholeHistory(server, 'alice', ROOM)
    expect(history.map(({ content }) => content).sort()).toEqual(['lost as well', 'lost, changed', 'stored'])
    expect(history.filter(({ isOwn }) => isOwn).map(({ key }) => key)).toEqual(keys.slice(0, 2))
    expect(facts(a.chat.getSnapshot().messages)).toEqual(facts(history))
    expect(b.chat.getSnapshot().unread).toBe(2)
  })

  test('and lost while away is sent again at the next visit', async () => {
    await serve({ storesAtOnce: false })
    const device = new Device()
    const room = server.room(ROOM)
    const before = arrives(server, 'alice', ROOM, { device })
    await Promise.all(['one', 'two'].map((content) => before.chat.send(content).accepted))
    before.tab.kill()
    room.lose('0')
    const a = arrives(server, 'alice', ROOM, { device })
    await until(a.chat, 'both are back', ({ messages, queued }) => messages.length === 2 && queued === 0)
    expect((await wholeHistory(server, 'bob', ROOM)).map(({ content }) => content)).toEqual(['one', 'two'])
  })

  test('and lost while away is shown once, under its new id', async () => {
    await serve({ storesAtOnce: false })
    const room = server.room(ROOM)
    const a = arrives(server, 'alice', ROOM)
    await a.chat.send('lost').accepted
    a.tab.signal('offline')
    room.lose('0')
    a.tab.signal('online')
    await until(a.chat, 'it is sent again', ({ messages }) => messages.at(-1)?.id === '10000000001')
    expect(contents(a.chat)).toEqual(['lost'])
    expect(facts(a.chat.getSnapshot().messages)).toEqual(facts(await wholeHistory(server, 'alice', ROOM)))
  })

  test('and so much more was missed that it is not replayed: all is as a fresh fetch has it', async () => {
    await serve({ storesAtOnce: false, resumeEvents: 3 })
    const room = server.room(ROOM)
    const say = (count: number) => {
      for (let at = 0; at < count; at += 1) server.say(room, 'bob', `message ${at}`)
    }
    say(5)
    server.store(room)
    say(2)
    const a = arrives(server, 'alice', ROOM)
    await until(a.chat, 'all seven are here', ({ messages }) => messages.length === 7)
    server.say(room, 'bob', 'live')
    await until(a.chat, 'the last is here', ({ messages }) => messages.length === 8)
    a.tab.signal('offline')
    room.lose('5')
    say(5)
    server.change(room, 'bob', '2', 'changed')
    server.change(room, 'bob', '10000000001', undefined)
    a.tab.signal('online')
    const fresh = JSON.stringify(facts(await wholeHistory(server, 'alice', ROOM)))
    await until(a.chat, 'as fetched', ({ messages }) => JSON.stringify(facts(messages)) === fresh)
  })

  test('deletions and changes that were lost are undone', async () => {
    await serve({ storesAtOnce: false })
    const room = server.room(ROOM)
    for (const content of ['one', 'two', 'three']) server.say(room, 'bob', content)
    server.store(room)
    const a = arrives(server, 'alice', ROOM)
    await until(a.chat, 'all are here', ({ messages }) => messages.length === 3)
    server.change(room, 'bob', '1', 'changed')
    server.change(room, 'bob', '2', undefined)
    await until(a.chat, 'both are seen', ({ messages }) => messages[1]?.isDeleted === true)
    server.lose(room, '3')
    await until(
      a.chat,
      'both are undone',
      ({ messages }) => messages[1]?.isDeleted === false && messages[0]?.content === 'one',
    )
    expect(facts(a.chat.getSnapshot().messages)).toEqual(facts(await wholeHistory(server, 'bob', ROOM)))
  })
})

describe('the store', () => {
  test('that is full loses nothing of this visit, and is told of', async () => {
    await serve()
    const device = new Device()
    device.quotaBytes = 100
    const a = arrives(server, 'alice', ROOM, { device })
    const told = next(a.chat, 'error')
    await a.chat.send('too long for it').accepted
    expect(await told).toMatchObject({ code: 'storage', retryable: true })
    expect(device.entries.size).toBe(0)
  })

  test('that takes its time is waited for', async () => {
    await serve()
    const writes: (() => void)[] = []
    const store = slow(memoryStore(), (go) => writes.push(go))
    const a = arrives(server, 'alice', ROOM, { outbox: store })
    await a.chat.ready()
    const sent = a.chat.send('first written')
    expect(sends()).toEqual([])
    expect(writes).toHaveLength(1)
    writes.splice(0)[0]?.()
    await sent.accepted
    expect(sends()).toHaveLength(1)
  })

  test('whose reading is overtaken by a writing loses nothing', async () => {
    await serve()
    const memory = memoryStore()
    const reads: (() => void)[] = []
    const store: OutboxStore = {
      ...memory,
      load: (scope) => {
        const found = memory.load(scope) as never[]
        return new Promise((resolve) => reads.push(() => resolve(found)))
      },
      put: async (scope, item) => memory.put(scope, item),
    }
    const a = arrives(server, 'alice', ROOM, { outbox: store })
    const sent = a.chat.send('written while it is read')
    await a.chat.ready()
    const go = setInterval(() => {
      for (const read of reads.splice(0)) read()
    }, 1)
    await sent.accepted
    clearInterval(go)
    expect(contents(a.chat)).toEqual(['written while it is read'])
  })

  test('is written to the end before another tab takes over', async () => {
    await serve()
    const device = new Device()
    const memory = memoryStore()
    const writes: (() => void)[] = []
    const first = arrives(server, 'alice', ROOM, { device, outbox: slow(memory, (go) => writes.push(go)) })
    const second = arrives(server, 'alice', ROOM, { device, outbox: memory })
    await Promise.all([first.chat.ready(), second.chat.ready()])
    first.chat.send('written last')
    const left = first.chat.close()
    for (const write of writes.splice(0)) write()
    await left
    await until(
      second.chat,
      'the other tab sent it',
      ({ messages, queued }) => messages.length === 1 && queued === 0,
    )
    expect(sends()).toHaveLength(1)
  })
})

test('a full queue takes no more', async () => {
  await serve()
  const a = arrives(server, 'alice', ROOM, { isConnected: false, maxQueued: 2 })
  a.chat.send('one')
  a.chat.send('two')
  expect(() => a.chat.send('three')).toThrow(expect.objectContaining({ code: 'queue_full', retryable: true }))
})

test('closing rejects what is unsent, and keeps it for the next time', async () => {
  await serve()
  const device = new Device()
  const a = arrives(server, 'alice', ROOM, { device, isConnected: false })
  const sent = a.chat.send('kept')
  await a.chat.close()
  await expect(sent.accepted).rejects.toMatchObject({ code: 'closed' })
  expect(() => a.chat.send('late')).toThrow(expect.objectContaining({ code: 'closed' }))
  await expect(a.chat.fetchMore()).rejects.toMatchObject({ code: 'closed' })
  const again = a.client.conversation(ROOM)
  expect(again).not.toBe(a.chat)
  again.connect()
  await until(again, 'it is sent', ({ messages, queued }) => messages.length === 1 && queued === 0)
})

/** Puts are finished when `write` is called. */
function slow(store: OutboxStore, write: (go: () => void) => void): OutboxStore {
  return {
    ...store,
    put: (scope, item) =>
      new Promise((resolve) => {
        write(() => {
          store.put(scope, item)
          resolve()
        })
      }),
  }
}
