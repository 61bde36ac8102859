/** What holds with every server that speaks the extended layer: run on the fake one and on the real binary. */

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Device } from './device.js'
import {
  arrives,
  contents,
  everybodyLeaves,
  facts,
  next,
  type ServerHandle,
  until,
  wholeHistory,
} from './people.js'

export function conversationSuite(name: string, start: () => Promise<ServerHandle>): void {
  describe(`conversation suite: ${name}`, () => {
    let server: ServerHandle
    let room: string
    let alice: string
    let bob: string
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server.stop())
    afterEach(() => {
      everybodyLeaves()
    })
    const scene = () => {
      const id = randomUUID().slice(0, 8)
      room = `room-${id}`
      alice = `alice-${id}`
      bob = `bob-${id}`
    }

    test('a message goes from queued to read, in the same place', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.ready(), b.chat.ready()])
      const states: (string | undefined)[] = []
      a.chat.on('message', (message) => states.push(message.state))
      a.chat.on('update', (message) => states.push(message.state))
      const sent = a.chat.send('hello')
      expect(a.chat.getSnapshot().messages.at(-1)).toMatchObject({
        key: sent.localId,
        content: 'hello',
        isOwn: true,
      })
      await sent.accepted
      await until(b.chat, 'bob sees it', ({ messages }) => messages.at(-1)?.content === 'hello')
      b.chat.markRead()
      const { messages } = await until(a.chat, 'it is read', (now) => now.messages.at(-1)?.state === 'read')
      expect(messages.map(({ key, content }) => [key, content])).toEqual([[sent.localId, 'hello']])
      const order = ['queued', 'sending', 'sent', 'delivered', 'read']
      expect(states.map((state) => order.indexOf(state ?? ''))).toEqual(
        [...states.map((state) => order.indexOf(state ?? ''))].sort(),
      )
      expect(states.at(-1)).toBe('read')
      expect(a.chat.getSnapshot().readBy.get(bob)).toBe(messages[0]?.id)
    })

    test('what is said before connecting is sent when connected, in order', async () => {
      scene()
      const a = arrives(server, alice, room, { isConnected: false })
      const all = ['one', 'two', 'three'].map((content) => a.chat.send(content))
      expect(a.chat.getSnapshot()).toMatchObject({ queued: 3, connection: { state: 'idle' } })
      a.chat.connect()
      await Promise.all(all.map(({ accepted }) => accepted))
      expect(contents(a.chat)).toEqual(['one', 'two', 'three'])
    })

    test('edits and deletions show at once, and to others', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.send('first').accepted, a.chat.send('second').accepted, b.chat.ready()])
      const [first = '', second = ''] = a.chat.getSnapshot().messages.map(({ id }) => id)
      const edit = a.chat.edit(first, 'changed')
      expect(a.chat.getSnapshot().messages[0]).toMatchObject({
        content: 'changed',
        isEdited: true,
        pending: 'edit',
      })
      const deletion = a.chat.delete(second)
      expect(a.chat.getSnapshot().messages[1]).toMatchObject({
        content: '',
        isDeleted: true,
        pending: 'delete',
      })
      await Promise.all([edit.accepted, deletion.accepted])
      const { messages } = await until(b.chat, 'bob sees both', (now) => now.messages[1]?.isDeleted === true)
      expect(messages[0]).toMatchObject({ content: 'changed', isEdited: true, editedBy: alice })
      expect(a.chat.getSnapshot().messages[0]).not.toHaveProperty('pending')
      expect(facts(messages)).toEqual(facts(await wholeHistory(server, bob, room)))
    })

    test('refusals reject what was wanted, and show what was before', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await a.chat.send('mine').accepted
      const { messages } = await until(b.chat, 'bob sees it', (now) => now.messages.length === 1)
      const id = messages[0]?.id ?? ''
      await expect(b.chat.edit(id, 'stolen').accepted).rejects.toMatchObject({
        code: 'not_author',
        retryable: false,
      })
      await expect(b.chat.delete(id).accepted).rejects.toMatchObject({ code: 'not_author' })
      await expect(a.chat.edit('999999', 'nothing').accepted).rejects.toMatchObject({
        code: 'unknown_message',
      })
      expect(b.chat.getSnapshot()).toMatchObject({
        queued: 0,
        messages: [{ content: 'mine', isEdited: false }],
      })
      await b.chat.send('and on').accepted
    })

    test('two deletions of one message both come to an end', async () => {
      scene()
      const a = arrives(server, alice, room)
      await a.chat.send('gone').accepted
      const id = a.chat.getSnapshot().messages[0]?.id ?? ''
      await Promise.all([a.chat.delete(id).accepted, a.chat.delete(id).accepted])
      await a.chat.delete(id).accepted
      await expect(a.chat.edit(id, 'back').accepted).rejects.toMatchObject({ code: 'unknown_message' })
    })

    test('others type, come, read and go', async () => {
      scene()
      const a = arrives(server, alice, room)
      await a.chat.send('are you there?').accepted
      const b = arrives(server, bob, room)
      await until(a.chat, 'bob is here', ({ online }) => online.includes(bob))
      await until(
        b.chat,
        'bob has one unread',
        ({ unread, messages }) => unread === 1 && messages.length === 1,
      )
      expect(b.chat.getSnapshot().online).toContain(alice)
      b.chat.typing()
      await until(a.chat, 'bob types', ({ typing }) => typing[0]?.userId === bob)
      b.chat.typing(false)
      await until(a.chat, 'bob stopped', ({ typing }) => typing.length === 0)
      b.chat.typing()
      await until(a.chat, 'bob types again', ({ typing }) => typing.length === 1)
      const read = next(a.chat, 'read')
      b.chat.markRead()
      await until(b.chat, 'nothing is unread', ({ unread }) => unread === 0)
      expect(await read).toEqual({ userId: bob, upToId: b.chat.getSnapshot().readId })
      await b.chat.close()
      await until(a.chat, 'bob is gone', ({ online, typing }) => online.length === 0 && typing.length === 0)
    })

    test('unread counts what others say, once', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.ready(), b.chat.ready()])
      for (const content of ['1', '2', '3']) await a.chat.send(content).accepted
      await until(b.chat, 'three are unread', ({ unread }) => unread === 3)
      b.tab.cut()
      await a.chat.send('4').accepted
      await until(b.chat, 'four are unread', ({ unread, messages }) => unread === 4 && messages.length === 4)
      b.chat.markRead(b.chat.getSnapshot().messages[1]?.id)
      await until(b.chat, 'two are unread', ({ unread }) => unread === 2)
      b.chat.markRead()
      await until(b.chat, 'none is unread', ({ unread }) => unread === 0)
      expect(a.chat.getSnapshot().unread).toBe(0)
    })

    test('pages back to the beginning', async () => {
      scene()
      const a = arrives(server, alice, room)
      const said = Array.from({ length: 65 }, (_, at) => `message ${at}`)
      await Promise.all(said.map((content) => a.chat.send(content).accepted))
      const b = arrives(server, bob, room, { pageSize: 20 })
      const first = await until(b.chat, 'the newest page is here', ({ messages }) => messages.length === 20)
      expect(first.hasMore).toBe(true)
      expect(await b.chat.fetchMore()).toEqual({ count: 20, hasMore: true })
      const found: string[] = []
      for await (const message of b.chat.history()) found.push(message.content)
      expect(found.reverse()).toEqual(said)
      expect(b.chat.getSnapshot()).toMatchObject({ hasMore: false, gaps: [], isFetching: false })
      expect(contents(b.chat)).toEqual(said)
    })

    test('150 messages at once all arrive, in order', async () => {
      scene()
      const a = arrives(server, alice, room)
      const said = Array.from({ length: 150 }, (_, at) => `message ${at}`)
      await Promise.all(said.map((content) => a.chat.send(content).accepted))
      // A client that only waited as long as each refusal asks for would be thrown out for too many of them.
      const refusals = a.frames.filter((frame) => frame.includes('rate_limited')).length
      expect(refusals).toBeLessThan(30)
      expect(a.tab.opened).toBe(1)
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual(said)
    })

    test('what was missed while away is made up: the same as a fresh fetch', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      for (const content of ['one', 'two', 'three']) await a.chat.send(content).accepted
      const before = await until(b.chat, 'bob sees three', ({ messages }) => messages.length === 3)
      b.tab.signal('offline')
      expect(b.chat.getSnapshot().connection).toEqual({ state: 'offline' })
      const [one = '', two = ''] = before.messages.map(({ id }) => id)
      await a.chat.edit(one, 'one, changed').accepted
      await a.chat.delete(two).accepted
      await a.chat.send('four').accepted
      b.tab.signal('online')
      const after = await until(
        b.chat,
        'bob sees four',
        ({ messages }) => messages.at(-1)?.content === 'four',
      )
      expect(facts(after.messages)).toEqual(facts(await wholeHistory(server, bob, room)))
      expect(contents(b.chat)).toEqual(['one, changed', '', 'three', 'four'])
    })

    test('an acknowledgement that was lost makes no second copy', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.ready(), b.chat.ready()])
      a.tab.isDeaf = true
      const sent = a.chat.send('only once')
      await until(b.chat, 'bob sees it', ({ messages }) => messages.length === 1)
      a.tab.isDeaf = false
      a.tab.cut()
      await sent.accepted
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual(['only once'])
    })

    test('said offline, reloaded, online: exactly one copy', async () => {
      scene()
      const device = new Device()
      const before = arrives(server, alice, room, { device })
      await before.chat.ready()
      before.tab.signal('offline')
      before.chat.send('kept')
      before.chat.send('and this')
      before.tab.kill()
      const after = arrives(server, alice, room, { device })
      await until(
        after.chat,
        'both are sent',
        ({ messages, queued }) => messages.length === 2 && queued === 0,
      )
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual([
        'kept',
        'and this',
      ])
    })

    test('a page that dies before the acknowledgement sends nothing twice', async () => {
      scene()
      const device = new Device()
      const before = arrives(server, alice, room, { device })
      const b = arrives(server, bob, room)
      await Promise.all([before.chat.ready(), b.chat.ready()])
      before.tab.isDeaf = true
      before.chat.send('under way')
      before.chat.send('behind it')
      await until(b.chat, 'bob sees the first', ({ messages }) => messages.length === 1)
      before.tab.kill()
      const after = arrives(server, alice, room, { device })
      await until(
        after.chat,
        'both are sent',
        ({ messages, queued }) => messages.length === 2 && queued === 0,
      )
      for (const frame of after.frames.filter((one) => one.startsWith('out {"action":"send')))
        expect(frame).toContain('"retry":true')
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual([
        'under way',
        'behind it',
      ])
    })

    test('of two tabs one sends; when it closes, the other sends the rest', async () => {
      scene()
      const device = new Device()
      const first = arrives(server, alice, room, { device })
      const second = arrives(server, alice, room, { device })
      await Promise.all([first.chat.ready(), second.chat.ready()])
      await second.chat.send('from the second').accepted
      expect(second.frames.filter((frame) => frame.includes('send_message'))).toEqual([])
      expect(first.frames.filter((frame) => frame.includes('send_message'))).toHaveLength(1)
      first.tab.isDeaf = true
      const rest = [first.chat.send('unanswered'), second.chat.send('waits'), first.chat.send('waits too')]
      await until(second.chat, 'the second tab knows all', ({ messages }) => messages.length === 4)
      await first.chat.close()
      await rest[1]?.accepted
      await until(second.chat, 'all are sent', ({ queued }) => queued === 0)
      const said = (await wholeHistory(server, bob, room)).map(({ content }) => content)
      expect([...said].sort()).toEqual(['from the second', 'unanswered', 'waits', 'waits too'])
      // Of one tab in order; between tabs by a clock that may show the same time.
      expect(said[0]).toBe('from the second')
      expect(said.indexOf('unanswered')).toBeLessThan(said.indexOf('waits too'))
    })

    test('a tab that sleeps lets the other one send, and takes its turn again', async () => {
      scene()
      const device = new Device()
      const first = arrives(server, alice, room, { device })
      const second = arrives(server, alice, room, { device })
      await Promise.all([first.chat.ready(), second.chat.ready()])
      first.tab.signal('frozen')
      await second.chat.send('while it sleeps').accepted
      first.tab.signal('shown')
      await first.chat.send('awake').accepted
      second.tab.signal('frozen')
      await first.chat.send('the other sleeps').accepted
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual([
        'while it sleeps',
        'awake',
        'the other sleeps',
      ])
    })

    test('another device of the same user shows what this one says', async () => {
      scene()
      const phone = arrives(server, alice, room)
      const laptop = arrives(server, alice, room)
      await Promise.all([phone.chat.ready(), laptop.chat.ready()])
      const { localId } = phone.chat.send('from the phone')
      const { messages } = await until(laptop.chat, 'the laptop sees it', (now) => now.messages.length === 1)
      expect(messages[0]).toMatchObject({ isOwn: true, localId, key: localId })
      expect(laptop.chat.getSnapshot().unread).toBe(0)
    })

    test('a token that ends soon is changed on the same connection', async () => {
      scene()
      const lives = [5_000, 3_600_000]
      const reasons: string[] = []
      const a = arrives(server, alice, room, {
        getToken: ({ reason }) => {
          reasons.push(reason)
          return server.token(alice, lives[reasons.length - 1], reasons.length)
        },
      })
      const changed = new Promise<void>((resolve) => {
        a.frames.push = (frame) => {
          if (frame.startsWith('in {"type":"auth_ok"')) resolve()
          return Array.prototype.push.call(a.frames, frame)
        }
      })
      await changed
      await a.chat.send('still here').accepted
      expect(reasons).toEqual(['first', 'expiring'])
      expect(a.tab.opened).toBe(1)
      expect(a.frames.join('\n')).toContain('out {"action":"auth","token":"…"}')
    })

    test('a token that is not accepted is asked for anew, and never used again', async () => {
      scene()
      const reasons: string[] = []
      const bad = server.token(alice, -3_600_000)
      const tokens = [bad, bad, server.token(alice)]
      const a = arrives(server, alice, room, {
        getToken: ({ reason }) => {
          reasons.push(reason)
          return tokens[reasons.length - 1] ?? ''
        },
      })
      await a.chat.ready()
      expect(reasons).toEqual(['first', 'rejected', 'rejected'])
      expect(a.tab.opened).toBe(2)
    })

    test('the server leaves and comes back: nothing is lost, nothing doubled', async () => {
      scene()
      const a = arrives(server, alice, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.send('before').accepted, b.chat.ready()])
      const restart = server.restart()
      const said = ['before']
      for (let at = 0; at < 20; at += 1) {
        said.push(`while it restarts ${at}`)
        a.chat.send(`while it restarts ${at}`)
      }
      await restart
      await a.chat.send('after').accepted
      said.push('after')
      await until(b.chat, 'bob sees all', ({ messages }) => messages.at(-1)?.content === 'after')
      expect(contents(b.chat)).toEqual(said)
      expect((await wholeHistory(server, bob, room)).map(({ content }) => content)).toEqual(said)
    })

    test('hostile contents and names arrive as they are', async () => {
      scene()
      const name = '__proto__'
      const a = arrives(server, name, room)
      const b = arrives(server, bob, room)
      await Promise.all([a.chat.ready(), b.chat.ready()])
      const hostile = [
        '<script>alert(1)</script>',
        '__proto__',
        '\u0000\u0001\u001f',
        '\u202eevil',
        '"\\',
        '👩‍👩‍👧‍👦',
        '\ufeffmark',
        'a'.repeat(16_384),
        '"'.repeat(16_384),
      ]
      await Promise.all(hostile.map((content) => a.chat.send(content).accepted))
      a.chat.typing()
      await until(b.chat, 'it types', ({ typing }) => typing[0]?.userId === name)
      await until(b.chat, 'all are here', ({ messages }) => messages.length === hostile.length)
      expect(contents(b.chat)).toEqual(hostile)
      b.chat.markRead()
      await until(a.chat, 'bob has read', ({ readBy }) => readBy.has(bob))
      a.chat.markRead()
    })

    test('half of a character does not hold up the queue', async () => {
      scene()
      const a = arrives(server, alice, room, { ackTimeoutMs: 300 })
      await a.chat.send('cut off: \ud83d').accepted
      await a.chat.send('and on').accepted
      expect(contents(a.chat)).toEqual(['cut off: \ufffd', 'and on'])
    })

    test('what does not fit into a frame is not taken', async () => {
      scene()
      const a = arrives(server, alice, room)
      await a.chat.ready()
      expect(() => a.chat.send('')).toThrow(expect.objectContaining({ code: 'invalid_content' }))
      expect(() => a.chat.send('é'.repeat(8_193))).toThrow(
        expect.objectContaining({ code: 'content_too_long' }),
      )
      // Each is six bytes on the wire.
      expect(() => a.chat.send('\u0001'.repeat(16_384))).toThrow(
        expect.objectContaining({ code: 'content_too_long' }),
      )
      await a.chat.send('é'.repeat(8_192)).accepted
      expect(a.chat.getSnapshot()).toMatchObject({ queued: 0, connection: { state: 'connected' } })
    })
  })
}

/** With a server that replays 20 events at most, and does not mind how fast one is. */
export function gapSuite(name: string, start: () => Promise<ServerHandle>): void {
  describe(`more was missed than is replayed: ${name}`, () => {
    let server: ServerHandle
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server.stop())
    afterEach(() => {
      everybodyLeaves()
    })

    const scene = () => {
      const id = randomUUID().slice(0, 8)
      const [room, alice, bob] = [`room-${id}`, `alice-${id}`, `bob-${id}`]
      const speaker = arrives(server, bob, room, { pageSize: 100 })
      const say = async (from: number, to: number) => {
        const numbers = Array.from({ length: to - from + 1 }, (_, at) => from + at)
        await Promise.all(numbers.map((number) => speaker.chat.send(`message ${number}`).accepted))
      }
      return { room, alice, speaker, say }
    }

    test('everything is as a fresh fetch has it, and history goes over the hole', async () => {
      const { room, alice, speaker, say } = scene()
      await say(1, 60)
      const a = arrives(server, alice, room)
      await until(a.chat, 'the page is here', ({ messages }) => messages.length === 50)
      a.tab.signal('offline')
      await speaker.chat.edit('30', 'changed below the gap').accepted
      await speaker.chat.delete('31').accepted
      await say(61, 300)
      await speaker.chat.edit('290', 'changed above the gap').accepted
      const gap = next(a.chat, 'gap')
      a.tab.signal('online')
      expect(await gap).toEqual({ from: '61', to: '200' })
      const fresh = await wholeHistory(server, alice, room)
      const { gaps } = await until(a.chat, 'what is here is as fetched', ({ messages }) => {
        const known = new Set(messages.map(({ id }) => id))
        const same = facts(fresh.filter(({ id }) => known.has(id)))
        return messages.length === 160 && JSON.stringify(facts(messages)) === JSON.stringify(same)
      })
      expect(gaps).toEqual([{ from: '61', to: '200' }])
      // What was read again reached the beginning.
      expect(a.chat.getSnapshot().hasMore).toBe(false)
      expect(fresh.find(({ id }) => id === '290')).toMatchObject({ isEdited: true })
      const found = []
      for await (const message of a.chat.history({ pageSize: 30 })) found.push(message)
      expect(facts(found.reverse())).toEqual(facts(fresh))
      expect(a.chat.getSnapshot().gaps).toEqual([])
    })

    test('a gap is fetched from its newest end on', async () => {
      const { room, alice, say } = scene()
      await say(1, 5)
      const a = arrives(server, alice, room)
      await until(a.chat, 'the page is here', ({ messages }) => messages.length === 5)
      a.tab.signal('offline')
      await say(6, 150)
      a.tab.signal('online')
      const { gaps } = await until(a.chat, 'there is a gap', (now) => now.gaps.length === 1)
      const [gap] = gaps
      expect(gap).toEqual({ from: '6', to: '50' })
      expect(await a.chat.fetchMore({ gap: gap as NonNullable<typeof gap>, limit: 10 })).toEqual({
        count: 10,
        hasMore: true,
      })
      expect(a.chat.getSnapshot().gaps).toEqual([{ from: '6', to: '40' }])
    })

    test('changes alone are made up too', async () => {
      const { room, alice, speaker, say } = scene()
      await say(1, 30)
      const a = arrives(server, alice, room)
      await until(a.chat, 'all are here', ({ messages }) => messages.length === 30)
      a.tab.signal('offline')
      await Promise.all(
        Array.from({ length: 25 }, (_, at) =>
          at === 3
            ? speaker.chat.delete('4').accepted
            : speaker.chat.edit(String(at + 1), `changed ${at}`).accepted,
        ),
      )
      a.tab.signal('online')
      const fresh = JSON.stringify(facts(await wholeHistory(server, alice, room)))
      await until(a.chat, 'as fetched', ({ messages }) => JSON.stringify(facts(messages)) === fresh)
    })
  })
}
