import { afterEach, describe, expect, test } from 'vitest'
import { ChatError } from '../../src/errors.js'
import type { Action, ServerFrame } from '../../src/frames.js'
import type { Connection } from '../../src/types.js'
import { Device } from '../support/device.js'
import { type FakeOptions, FakeServer } from '../support/fake-server.js'
import { arrives, contents, everybodyLeaves, next, type Person, until } from '../support/people.js'

let server: FakeServer
afterEach(async () => {
  everybodyLeaves()
  await server.stop()
})

const ROOM = 'room'

async function serve(options: FakeOptions = {}): Promise<void> {
  server = await FakeServer.start(options)
}

/** What the connection went through from now on. */
function states(person: Person): string[] {
  const seen: string[] = []
  person.chat.on('connection', ({ state }: Connection) => seen.push(state))
  return seen
}

describe('the close codes', () => {
  test.each([1000, 1002, 1003, 1007, 1008, 1009, 4004, 4400, 4499])('%i: it stops', async (code) => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    server.connections()[0]?.close(code, 'why')
    const { connection } = await until(a.chat, 'closed', (now) => now.connection.state === 'closed')
    expect(connection).toEqual({ state: 'closed', code, reason: 'why' })
    await expect(a.chat.ready()).rejects.toMatchObject({ code: 'closed' })
    expect(a.tab.opened).toBe(1)
  })

  test.each([1001, 1011, 1012, 1013, 3000, 4000, 4200, 4201, 4202, 4300])(
    '%i: it comes back after a while',
    async (code) => {
      await serve()
      const a = arrives(server, 'alice', ROOM)
      await a.chat.ready()
      const seen = states(a)
      server.connections()[0]?.close(code, '')
      await until(a.chat, 'back', ({ connection }) => connection.state === 'connected' && a.tab.opened === 2)
      expect(seen).toEqual(['waiting', 'connecting', 'connected'])
      expect(a.tokens).toEqual(['first'])
    },
  )

  test('4100: it comes back at once, with what it has', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.send('one').accepted
    const seen = states(a)
    server.connections()[0]?.close(4100, '')
    await until(a.chat, 'back', () => seen.includes('connected'))
    expect(seen).toEqual(['connecting', 'connected'])
    expect(a.tab.urls[1]).toContain('since=')
  })

  test('4003: it comes back with another token', async () => {
    await serve()
    let serial = 0
    const a = arrives(server, 'alice', ROOM, { getToken: () => server.token('alice', 60_000, serial++) })
    await a.chat.ready()
    const before = server.connections()[0]
    server.revoked.add(before?.token ?? '')
    before?.close(4003, 'revoked')
    await until(a.chat, 'back', ({ connection }) => connection.state === 'connected' && serial === 2)
    expect(server.connections()[0]?.token).not.toBe(before?.token)
  })

  test('1012: it waits as long as the server says', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    const before = Date.now()
    server.connections()[0]?.close(1012, '{"retry_after_ms":7000}')
    const { connection } = await until(a.chat, 'waiting', (now) => now.connection.state === 'waiting')
    expect(connection.retryAt).toBeGreaterThanOrEqual(before + 7_000)
  })
})

describe('a server that wants its clients elsewhere', () => {
  test('is left when the next one is live', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    const b = arrives(server, 'bob', ROOM)
    await Promise.all([a.chat.send('one').accepted, b.chat.ready()])
    const seen = states(a)
    const old = server.connections().find(({ user }) => user === 'alice')
    const isOldOpen = new Promise<boolean>((resolve) => {
      server.onConnect = () => {
        resolve(server.room(ROOM).connections.has(old as never))
        return true
      }
    })
    old?.tell({ type: 'reconnect', after_ms: 1, reason: 'drain' })
    expect(await isOldOpen).toBe(true)
    await until(a.chat, 'the old one is left', () => !server.room(ROOM).connections.has(old as never))
    await a.chat.send('two').accepted
    await until(b.chat, 'bob sees both', ({ messages }) => messages.length === 2)
    expect(seen).toEqual([])
    expect(contents(a.chat)).toEqual(['one', 'two'])
    expect(server.room(ROOM).connections.has(old as never)).toBe(false)
  })

  test('is used on while the next one cannot be reached', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    const seen = states(a)
    const refused = new Promise<void>((resolve) => {
      server.onConnect = (connection) => {
        connection.cut()
        resolve()
        return false
      }
    })
    server.connections()[0]?.tell({ type: 'reconnect', after_ms: 1, reason: 'rebalance' })
    await refused
    await a.chat.send('still there').accepted
    expect(seen).toEqual([])
  })

  test('goes before the next one is live: what was missed comes with that one', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.send('one').accepted
    const [old] = server.connections()
    const came = new Promise<() => void>((resolve) => {
      server.onFrame = (connection, frame) => {
        if (connection === old || frame.type !== 'live') return [frame]
        resolve(() => {
          server.onFrame = (_, one) => [one]
          connection.tell(frame)
        })
        return []
      }
    })
    old?.tell({ type: 'reconnect', after_ms: 1, reason: 'drain' })
    const goOn = await came
    old?.cut()
    await until(a.chat, 'one is left', ({ connection }) => connection.state === 'connecting')
    const sent = a.chat.send('two')
    server.say(server.room(ROOM), 'bob', 'meanwhile')
    goOn()
    await sent.accepted
    expect(contents(a.chat)).toEqual(['one', 'meanwhile', 'two'])
    expect(a.tab.opened).toBe(2)
  })

  test('sends garbage on the next connection: the present one is kept', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    const seen = states(a)
    const [old] = server.connections()
    const sent = new Promise<void>((resolve) => {
      server.onConnect = (connection) => {
        connection.tellText('no JSON')
        resolve()
        return false
      }
    })
    old?.tell({ type: 'reconnect', after_ms: 1, reason: 'drain' })
    await sent
    await a.chat.send('still there').accepted
    await a.chat.send('and on').accepted
    expect({ seen, isOld: server.connections()[0] === old }).toEqual({ seen: [], isOld: true })
  })
})

describe('a connection', () => {
  test('that says nothing any more is made anew', async () => {
    await serve({ heartbeatMs: 100 })
    const a = arrives(server, 'alice', ROOM, { heartbeatGraceMs: 100 })
    await a.chat.ready()
    const { connection } = await until(a.chat, 'waiting', (now) => now.connection.state === 'waiting')
    expect(connection).toMatchObject({ code: 1006, reason: 'nothing was heard' })
    await until(a.chat, 'back', (now) => now.connection.state === 'connected')
  })

  test('on which heartbeats come is kept', async () => {
    await serve({ heartbeatMs: 100 })
    const a = arrives(server, 'alice', ROOM, { heartbeatGraceMs: 100 })
    await a.chat.ready()
    const seen = states(a)
    await new Promise<void>((resolve) => {
      let beats = 0
      const beat = setInterval(() => {
        server.connections()[0]?.tell({ type: 'heartbeat' })
        beats += 1
        if (beats < 8) return
        clearInterval(beat)
        resolve()
      }, 50)
    })
    expect(seen).toEqual([])
  })

  test('that does not open in time is given up', async () => {
    await serve()
    const tab = { closed: 0 }
    const a = arrives(server, 'alice', ROOM, {
      connectTimeoutMs: 50,
      environment: {
        WebSocket: class {
          onopen = null
          onmessage = null
          onclose = null
          onerror = null
          send(): void {}
          close(): void {
            tab.closed += 1
          }
        } as never,
      },
    })
    const { connection } = await until(a.chat, 'waiting', (now) => now.connection.state === 'waiting')
    expect(connection).toMatchObject({ code: 1006, reason: 'it did not open in time' })
    await until(a.chat, 'another token is asked for', () => a.tokens.length === 2)
    expect(a.tokens).toEqual(['first', 'rejected'])
    expect(tab.closed).toBe(2)
  })

  test.each(['no JSON', '"text"', 'null', '7', ''])('on which %j comes is made anew', async (text) => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    server.connections()[0]?.tellText(text)
    await until(a.chat, 'back', ({ connection }) => connection.state === 'connected' && a.tab.opened === 2)
    await a.chat.send('and on').accepted
  })

  test('on which unknown frames and fields come goes on', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    server.onFrame = (_, frame) => [
      { type: 'of.later', of: 'the protocol' } as unknown as ServerFrame,
      { type: '__proto__' } as unknown as ServerFrame,
      { ...frame, later: { field: [1] } } as unknown as ServerFrame,
    ]
    await a.chat.send('hello').accepted
    expect(contents(a.chat)).toEqual(['hello'])
    expect(a.tab.opened).toBe(1)
  })

  test('is given back by the browser when the page sleeps, and made anew when it wakes', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM)
    await a.chat.ready()
    const seen = states(a)
    a.tab.signal('hidden')
    a.tab.signal('frozen')
    expect(seen).toEqual(['offline'])
    a.tab.signal('shown')
    await a.chat.ready()
    expect(seen).toEqual(['offline', 'connecting', 'connected'])
    expect(a.tokens).toEqual(['first'])
  })
})

describe('tokens', () => {
  test('that cannot be had now are asked for again', async () => {
    await serve()
    let asked = 0
    const a = arrives(server, 'alice', ROOM, {
      getToken: () => {
        asked += 1
        if (asked < 3) throw new Error('the login server is away')
        return server.token('alice')
      },
    })
    expect(await next(a.chat, 'error')).toMatchObject({ code: 'unauthorized', retryable: true })
    await a.chat.ready()
    expect(asked).toBe(3)
  })

  test('that will never be had close it', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM, {
      getToken: () => {
        throw new ChatError('unauthorized', 'logged out')
      },
    })
    await expect(a.chat.ready()).rejects.toMatchObject({ code: 'closed' })
    expect(a.chat.getSnapshot().connection).toEqual({ state: 'closed', reason: 'logged out' })
  })

  test('travel in the query where that is wanted', async () => {
    await serve()
    const a = arrives(server, 'alice', ROOM, { tokenTransport: 'query' })
    await a.chat.ready()
    expect(a.tab.urls[0]).toContain('token=')
    expect(a.frames.join('')).not.toContain(server.connections()[0]?.token)
  })

  test('that a second server refuses are not used again, and not asked for without end', async () => {
    await serve()
    let serial = 0
    const a = arrives(server, 'alice', ROOM, { getToken: () => server.token('alice', 60_000, serial++) })
    await a.chat.ready()
    const [old] = server.connections()
    server.revoked.add(old?.token ?? '')
    old?.tell({ type: 'reconnect', after_ms: 1, reason: 'drain' })
    await until(a.chat, 'it is at the other one', () => serial === 2)
    await a.chat.send('here').accepted
    await until(
      a.chat,
      'the first is left',
      () => server.connections().length === 1 && server.connections()[0] !== old,
    )
    expect(serial).toBe(2)
  })
})

describe('ready', () => {
  test('ends when nothing answers in time', async () => {
    await serve()
    server.onConnect = () => false
    const a = arrives(server, 'alice', ROOM)
    await expect(arrives(server, 'bob', ROOM, { isConnected: false }).chat.ready(20)).rejects.toMatchObject({
      code: 'timeout',
    })
    await a.chat.close()
    await expect(a.chat.ready()).rejects.toMatchObject({ code: 'closed' })
  })
})

test('access that is revoked is told, and ends it', async () => {
  await serve()
  const a = arrives(server, 'alice', ROOM)
  await a.chat.ready()
  const told = next(a.chat, 'error')
  server.connections()[0]?.tell({ type: 'access_revoked', reason: 'you were removed' })
  server.connections()[0]?.close(4004, 'gone')
  expect(await told).toMatchObject({ code: 'access_denied', message: 'you were removed' })
  await expect(a.chat.ready())
    .resolves.toBeUndefined()
    .catch(() => {})
  await until(a.chat, 'closed', ({ connection }) => connection.code === 4004)
  expect(a.tab.opened).toBe(1)
})

test('a tab that is closed for good lets the other one send', async () => {
  await serve()
  const device = new Device()
  const first = arrives(server, 'alice', ROOM, { device })
  await first.chat.ready()
  const second = arrives(server, 'alice', ROOM, { device })
  await second.chat.ready()
  await first.chat.send('the first one leads').accepted
  const [leading] = server.connections()
  leading?.close(1008, 'broken')
  await until(first.chat, 'closed', ({ connection }) => connection.state === 'closed')
  await Promise.all([first.chat.send('by the other').accepted, second.chat.send('itself').accepted])
  await first.chat.send('told to it').accepted
  expect(contents(second.chat)).toHaveLength(4)
})

test('typing is told seldom, and ended', async () => {
  await serve()
  const a = arrives(server, 'alice', ROOM)
  await a.chat.ready()
  for (let press = 0; press < 20; press += 1) a.chat.typing()
  a.chat.typing(false)
  a.chat.typing(false)
  await a.chat.send('said').accepted
  const told = server.heard.filter((action: Action) => action.action === 'typing')
  expect(told).toEqual([
    { action: 'typing', is_typing: true },
    { action: 'typing', is_typing: false },
  ])
})
