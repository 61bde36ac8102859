import { describe, expect, test } from 'vitest'
import { People } from '../../src/people.js'
import { reusing } from '../../src/reuse.js'
import { Session } from '../../src/session.js'
import type { Snapshot } from '../../src/types.js'
import { HELLO } from '../support/hello.js'

describe('people', () => {
  test('type until they stop, speak, go, or nothing was heard for 10 s', () => {
    const people = new People('me')
    people.typing('me', 'me', true, 0)
    for (const [at, user] of ['a', 'b', 'c', 'd'].entries()) people.typing(user, user.toUpperCase(), true, at)
    expect(people.typingNow()).toEqual(
      ['a', 'b', 'c', 'd'].map((userId) => ({ userId, username: userId.toUpperCase() })),
    )
    people.typing('a', 'A', false, 5)
    people.spoke('b')
    people.status('c', false)
    expect(people.typingNow()).toEqual([{ userId: 'd', username: 'D' }])
    expect([people.wake(), people.due(10_002), people.due(10_003)]).toEqual([10_003, false, true])
    expect([people.typingNow(), people.wake()]).toEqual([[], Number.POSITIVE_INFINITY])
  })

  test('are here until they go; in a crowd only some are named', () => {
    const people = new People('me')
    for (const user of ['a', 'me', '__proto__']) people.status(user, true)
    expect(people.online()).toEqual(['a', '__proto__'])
    people.crowd(300, ['x', 'me'])
    expect([people.online(), people.onlineCount]).toEqual([['x'], 300])
    people.forget()
    expect([people.online(), people.onlineCount]).toEqual([[], undefined])
  })

  test('read and receive forwards only, until the log loses something', () => {
    const people = new People('me')
    expect([people.reads('a', 5), people.reads('a', 5), people.reads('a', 3), people.reads('me', 9)]).toEqual(
      [true, false, false, false],
    )
    people.receives('a', '7')
    people.receives('a', '6')
    people.receives('me', '99')
    expect([people.read, people.delivered]).toEqual([5, 7])
    people.rewind(4)
    expect([people.read, people.delivered, people.readBy.get('a')]).toEqual([4, 4, 4])
  })
})

describe('a snapshot', () => {
  const settings = {
    conversationId: 'room',
    userId: 'me',
    minMs: 500,
    maxMs: 20_000,
    stableMs: 5_000,
    connectTimeoutMs: 10_000,
    graceMs: 10_000,
    ackTimeoutMs: 10_000,
    maxAttempts: 5,
    pageSize: 50,
  }

  const connected = () => {
    const session = new Session(settings, () => 0.5, true)
    session.handle({ on: 'connect' }, 0)
    session.handle({ on: 'token', token: 't' }, 0)
    session.handle({ on: 'opened', socket: 1 }, 0)
    session.handle({ on: 'leader', isLeader: true }, 0)
    const hear = (frame: object, now = 0) =>
      session.handle({ on: 'text', socket: 1, text: JSON.stringify(frame) }, now)
    const greet = (how: object = {}) => hear({ ...HELLO, ...how })
    greet()
    hear({ type: 'live', position: '0' })
    return { session, hear, greet }
  }

  const said = (id: string, sender = 'bob') => ({
    type: 'chat_message',
    message: { id, sender_id: sender, content: id, timestamp: '2026-01-01T00:00:00.000Z', status: 'sent' },
    position: id,
  })

  test('is the same object when nothing changed, and has the same parts where they did not', () => {
    const { session, hear } = connected()
    for (const id of ['1', '2']) hear(said(id))
    hear({ type: 'read', user_id: 'bob', message_ids: ['1'] })
    const first: Snapshot = session.snapshot()
    hear({ type: 'heartbeat' })
    hear(said('2'))
    expect(reusing(first, session.snapshot())).toBe(first)
    hear(said('3'))
    const second = reusing(first, session.snapshot())
    expect(second).not.toBe(first)
    expect(second.messages).not.toBe(first.messages)
    expect(second.messages[0]).toBe(first.messages[0])
    for (const part of ['connection', 'typing', 'online', 'readBy', 'gaps'] as const)
      expect(second[part]).toBe(first[part])
    hear({ type: 'presence', count: 300, sample: ['x'] })
    const crowd = reusing(second, session.snapshot())
    expect(crowd.onlineCount).toBe(300)
    session.handle({ on: 'closed', socket: 1, code: 1006, reason: '' }, 0)
    expect(reusing(crowd, session.snapshot())).not.toHaveProperty('onlineCount')
  })

  test('keeps the objects of messages whose state did not change', () => {
    const { session, hear } = connected()
    for (const id of ['1', '2', '3']) hear(said(id, 'me'))
    hear({ type: 'message.status', message_id: '1', status: 'delivered', timestamp: '' })
    const before = session.snapshot().messages
    hear({ type: 'message.status', message_id: '2', status: 'delivered', timestamp: '' })
    const after = session.snapshot().messages
    expect(after.map(({ state }) => state)).toEqual(['delivered', 'delivered', 'sent'])
    expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([
      true,
      false,
      true,
    ])
  })

  test('shows as done what the tab that sends has done in an epoch that this one hears of later', () => {
    const { session, hear } = connected()
    session.handle({ on: 'leader', isLeader: false }, 0)
    hear(said('1', 'me'))
    const createdAt = '2026-01-01T00:00:00.000Z'
    const item = { localId: 'd', order: 1, action: { kind: 'delete', id: '1' }, createdAt } as const
    session.handle({ on: 'other tab', change: { put: item } }, 0)
    expect(session.snapshot()).toMatchObject({ queued: 1, messages: [{ pending: 'delete' }] })
    const acked = { position: '10000000000-1', epoch: 1 }
    session.handle({ on: 'other tab', change: { put: { ...item, acked } } }, 0)
    hear({
      type: 'message.deleted',
      message_id: '7',
      deleted_by: 'me',
      local_id: 'd',
      position: '7-1',
      timestamp: '',
    })
    hear({ type: 'resync', epoch: 1, lost_after: '1', stored_id: '1' })
    expect(session.snapshot().queued).toBe(0)
  })

  test('counts unread messages that are lost no more', () => {
    const { session, hear } = connected()
    for (const id of ['1', '2', '3']) hear(said(id))
    expect(session.snapshot().unread).toBe(3)
    hear({ type: 'resync', epoch: 1, lost_after: '1', stored_id: '1' })
    expect(session.snapshot()).toMatchObject({ unread: 1, messages: [{ id: '1' }] })
  })

  test('begins anew where nothing is surely shared, and knows what was read from the greeting', () => {
    const { session, hear, greet } = connected()
    for (const id of ['1', '2', '3']) hear(said(id))
    greet({ epoch: 2, head_id: '20000000300', read_id: '20000000200', unread: 100 })
    hear({ type: 'resync', epoch: 2, lost_after: '0', stored_id: '0' })
    hear({ type: 'gap', from: '1', to: '20000000299' })
    hear(said('20000000300'))
    hear({ type: 'live', position: '20000000300' })
    expect(session.snapshot()).toMatchObject({
      hasMore: true,
      messages: [{ id: '20000000300' }],
      readId: '20000000200',
      unread: 100,
    })
  })
})

describe('a session', () => {
  test('reads gather for a moment, are named by the newest ids, and are said again until they are heard', () => {
    const session = new Session(
      {
        conversationId: 'r',
        userId: 'me',
        minMs: 1,
        maxMs: 1,
        stableMs: 1,
        connectTimeoutMs: 1e4,
        graceMs: 1e4,
        ackTimeoutMs: 1e4,
        maxAttempts: 5,
        pageSize: 50,
      },
      () => 0,
      true,
    )
    session.handle({ on: 'connect' }, 0)
    session.handle({ on: 'token', token: 't' }, 0)
    session.handle({ on: 'opened', socket: 1 }, 0)
    const hear = (frame: object, now: number) =>
      session.handle({ on: 'text', socket: 1, text: JSON.stringify(frame) }, now)
    const message = (id: number) => ({
      id: String(id),
      sender_id: 'bob',
      content: 'x',
      timestamp: '',
      status: 'sent',
    })
    for (let id = 1; id <= 150; id += 1)
      hear({ type: 'chat_message', message: message(id), position: String(id) }, 0)
    session.handle({ on: 'mark read', upToId: 100 }, 0)
    session.handle({ on: 'mark read', upToId: 150 }, 100)
    session.handle({ on: 'mark read', upToId: 120 }, 100)
    const reads = (effects: ReturnType<Session['handle']>) =>
      effects.flatMap((effect) =>
        effect.do === 'write' && effect.action.action === 'read' ? [effect.action.message_ids] : [],
      )
    expect(reads(session.handle({ on: 'time' }, 249))).toEqual([])
    const [ids = []] = reads(session.handle({ on: 'time' }, 250))
    expect([ids.length, ids[0], ids[1]]).toEqual([100, '150', '51'])
    expect(reads(session.handle({ on: 'time' }, 2_249))).toEqual([])
    expect(reads(session.handle({ on: 'time' }, 2_250))).toHaveLength(1)
    hear({ type: 'read', user_id: 'me', message_ids: ['150'] }, 2_300)
    expect(reads(session.handle({ on: 'time' }, 10_000))).toEqual([])
    expect(session.snapshot()).toMatchObject({ readId: '150', unread: 0 })
  })
})
