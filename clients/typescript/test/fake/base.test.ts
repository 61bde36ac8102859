/** A server that knows the base layer only: no hello, no epochs, nothing stored. */

import { afterEach, expect, test } from 'vitest'
import { type FakeOptions, FakeServer } from '../support/fake-server.js'
import { arrives, contents, everybodyLeaves, facts, until, wholeHistory } from '../support/people.js'

let server: FakeServer
afterEach(async () => {
  everybodyLeaves()
  await server.stop()
})

const ROOM = 'room'

async function serve(options: FakeOptions = {}): Promise<void> {
  server = await FakeServer.start({ isBase: true, ...options })
}

test('everything works without a hello', async () => {
  await serve()
  const room = server.room(ROOM)
  server.say(room, 'bob', 'before')
  const a = arrives(server, 'alice', ROOM)
  const early = a.chat.send('early')
  await early.accepted
  await until(a.chat, 'the page is here', ({ messages }) => messages.length === 2)
  const id = a.chat.getSnapshot().messages[1]?.id ?? ''
  await a.chat.edit(id, 'edited').accepted
  await a.chat.send('gone').accepted
  await a.chat.delete(a.chat.getSnapshot().messages[2]?.id ?? '').accepted
  expect(contents(a.chat)).toEqual(['before', 'edited', ''])
  a.chat.markRead()
  await until(a.chat, 'read', ({ readId }) => readId === '3')
  expect(a.chat.getSnapshot()).toMatchObject({ queued: 0, hasMore: false })
})

test.each([true, false])(
  'what was missed is made up (it replays: %s), also when something live comes first',
  async (resumes) => {
    await serve({ resumes })
    const room = server.room(ROOM)
    for (let at = 0; at < 5; at += 1) server.say(room, 'bob', `before ${at}`)
    const a = arrives(server, 'alice', ROOM)
    await until(a.chat, 'all five are here', ({ messages }) => messages.length === 5)
    server.onConnect = () => {
      // Straight after the upgrade, before the client asks for anything.
      queueMicrotask(() => server.say(room, 'bob', 'live at once'))
      return true
    }
    a.tab.signal('offline')
    server.change(room, 'bob', '2', 'changed meanwhile')
    server.change(room, 'bob', '3', undefined)
    for (let at = 0; at < 150; at += 1) server.say(room, 'bob', `missed ${at}`)
    a.tab.signal('online')
    await until(
      a.chat,
      'all are here',
      ({ messages }) => messages.length === 156 && messages[1]?.content === 'changed meanwhile',
    )
    server.onConnect = () => true
    const history = await wholeHistory(server, 'bob', ROOM)
    await until(
      a.chat,
      'as fetched',
      ({ messages }) => JSON.stringify(facts(messages)) === JSON.stringify(facts(history)),
    )
  },
)

test('what the server calls failed is sent again, by one tab', async () => {
  await serve()
  const room = server.room(ROOM)
  const a = arrives(server, 'alice', ROOM)
  await a.chat.send('lost').accepted
  const key = a.chat.getSnapshot().messages[0]?.key
  room.lose('0')
  for (const one of room.connections) {
    one.tell({
      type: 'message.status',
      message_id: '1',
      status: 'failed',
      timestamp: new Date().toISOString(),
    })
  }
  const { messages } = await until(
    a.chat,
    'it is there again',
    (now) => now.queued === 0 && now.messages[0]?.id === '10000000001',
  )
  expect(messages).toMatchObject([{ key, content: 'lost', state: 'sent' }])
})

test('an acknowledgement that was lost makes no second copy', async () => {
  await serve({ resumes: false })
  const a = arrives(server, 'alice', ROOM)
  await a.chat.ready()
  a.tab.isDeaf = true
  const sent = a.chat.send('once')
  await until(a.chat, 'the server has it', () => server.heard.length > 0 || a.chat.getSnapshot().queued === 1)
  a.tab.cut()
  a.tab.isDeaf = false
  await sent.accepted
  expect((await wholeHistory(server, 'bob', ROOM)).map(({ content }) => content)).toEqual(['once'])
})
