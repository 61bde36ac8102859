import { describe, expect, test } from 'vitest'
import { Link, type LinkEffect } from '../../src/link.js'
import { backoff, verdict } from '../../src/verdict.js'

const SETTINGS = { minMs: 500, maxMs: 20_000, stableMs: 5_000, connectTimeoutMs: 10_000, graceMs: 10_000 }

/** A link whose chance is always a half, and what it wants. */
class Bench {
  readonly link: Link
  now = 1_000

  constructor(isOnline = true) {
    this.link = new Link(SETTINGS, () => 0.5, isOnline)
  }

  effects(): LinkEffect[] {
    return this.link.effects.splice(0)
  }

  connect(): LinkEffect[] {
    this.link.connect(this.now)
    return this.effects()
  }

  token(token: string): LinkEffect[] {
    this.link.gotToken(token, this.now)
    return this.effects()
  }

  /** Connects and is live on socket 1. */
  live(): this {
    this.connect()
    this.token('t1')
    this.up(1)
    return this
  }

  up(socket: number): LinkEffect[] {
    this.link.opened(socket, this.now)
    this.link.live(socket)
    return this.effects()
  }

  closed(socket: number, code: number, reason = ''): LinkEffect[] {
    this.link.closed(socket, this.now, code, reason)
    return this.effects()
  }

  pass(ms: number): LinkEffect[] {
    this.now += ms
    this.link.due(this.now)
    return this.effects()
  }

  waitMs(): number {
    return (this.link.status.retryAt ?? Number.NaN) - this.now
  }
}

describe('verdict', () => {
  test.each([
    ...[1000, 1002, 1003, 1007, 1008, 1009, 4004, 4400, 4450, 4499].map(
      (code) => [code, { do: 'stop' }] as const,
    ),
    [4003, { do: 'token' }] as const,
    ...[4100, 4150, 4199].map((code) => [code, { do: 'now' }] as const),
    ...[1001, 1005, 1006, 1011, 1012, 1013, 3000, 4000, 4002, 4099, 4200, 4201, 4202, 4299, 4300, 4500].map(
      (code) => [code, { do: 'back off' }] as const,
    ),
  ])('%i', (code, expected) => {
    expect(verdict(code, '')).toEqual(expected)
  })

  test.each([
    [1012, '{"retry_after_ms":1500}', { do: 'after', ms: 1_500 }],
    [1013, '{"retry_after_ms":0}', { do: 'after', ms: 0 }],
    [1012, '{"retry_after_ms":99999999}', { do: 'after', ms: 60_000 }],
    [1012, '{"retry_after_ms":-1}', { do: 'back off' }],
    [1012, '{"retry_after_ms":"1"}', { do: 'back off' }],
    [1012, 'bye', { do: 'back off' }],
    [1012, 'null', { do: 'back off' }],
    [1001, '{"retry_after_ms":1500}', { do: 'back off' }],
  ])('%i %s', (code, reason, expected) => {
    expect(verdict(code, reason)).toEqual(expected)
  })

  test('the wait grows to a limit, and is spread', () => {
    const waits = [0, 1, 2, 5, 6, 100].map((failures) => backoff(failures, 500, 20_000, () => 0.5))
    expect(waits).toEqual([750, 1_000, 1_500, 8_500, 10_500, 10_500])
    expect(backoff(3, 500, 20_000, () => 0)).toBe(500)
  })
})

describe('a link', () => {
  test('fetches a token, opens, and is connected when live', () => {
    const bench = new Bench()
    expect(bench.connect()).toEqual([{ do: 'token', reason: 'first' }])
    expect(bench.connect()).toEqual([])
    expect(bench.token('t1')).toEqual([{ do: 'open', socket: 1, token: 't1' }])
    expect(bench.link.status).toEqual({ state: 'connecting' })
    bench.link.opened(1, bench.now)
    expect(bench.link.writable).toBeUndefined()
    bench.link.live(1)
    expect(bench.link.status).toEqual({ state: 'connected' })
    expect(bench.link.writable).toBe(1)
  })

  test('waits longer after each failure, and starts again after it held for 5 s', () => {
    const bench = new Bench().live()
    const waits: number[] = []
    for (let socket = 1; socket <= 4; socket += 1) {
      bench.closed(socket, 1006)
      waits.push(bench.waitMs())
      expect(bench.pass(bench.waitMs())).toEqual([{ do: 'open', socket: socket + 1, token: 't1' }])
      bench.up(socket + 1)
    }
    expect(waits).toEqual([750, 1_000, 1_500, 2_500])
    bench.pass(4_999)
    bench.closed(5, 1006)
    expect(bench.waitMs()).toBe(4_500)
    bench.pass(4_500)
    bench.up(6)
    bench.pass(5_000)
    bench.closed(6, 1006)
    expect(bench.waitMs()).toBe(750)
  })

  test('stops for good, and can be asked to begin again', () => {
    const bench = new Bench().live()
    bench.closed(1, 4004, 'not yours')
    expect(bench.link.status).toEqual({ state: 'closed', code: 4004, reason: 'not yours' })
    expect(bench.link.wake()).toBe(Number.POSITIVE_INFINITY)
    expect(bench.connect()).toEqual([{ do: 'open', socket: 2, token: 't1' }])
  })

  test('closes both sockets with 1000, and does nothing more', () => {
    const bench = new Bench().live()
    bench.link.changeServer(bench.now, 0)
    bench.pass(0)
    bench.link.close()
    expect(bench.effects()).toEqual([
      { do: 'close', socket: 1, code: 1000 },
      { do: 'close', socket: 2, code: 1000 },
    ])
    bench.link.signal('online', bench.now)
    expect(bench.pass(100_000)).toEqual([])
    expect(bench.link.status).toEqual({ state: 'closed' })
  })

  test('comes back at once after 4100, but only once in a row', () => {
    const bench = new Bench().live()
    expect(bench.closed(1, 4100)).toEqual([{ do: 'open', socket: 2, token: 't1' }])
    bench.up(2)
    expect(bench.closed(2, 4100)).toEqual([])
    expect(bench.waitMs()).toBe(1_000)
  })

  test('waits as long as 1012 says, spread a little, and backs off without a reason', () => {
    const bench = new Bench().live()
    bench.closed(1, 1012, '{"retry_after_ms":1500}')
    expect(bench.waitMs()).toBe(1_750)
    const other = new Bench().live()
    other.closed(1, 1012)
    expect(other.waitMs()).toBe(750)
  })

  test('gives up what does not open in time, and asks for a token after two of them', () => {
    const bench = new Bench()
    bench.connect()
    bench.token('t1')
    expect(bench.link.wake()).toBe(bench.now + 10_000)
    expect(bench.pass(10_000)).toEqual([{ do: 'close', socket: 1, code: 3000 }])
    expect(bench.link.status).toMatchObject({
      state: 'waiting',
      code: 1006,
      reason: 'it did not open in time',
    })
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'open', socket: 2, token: 't1' }])
    bench.closed(2, 1006)
    // Browsers do not tell why: the token may be what is wrong, or not.
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'token', reason: 'rejected' }])
    expect(bench.token('t1')).toEqual([{ do: 'open', socket: 3, token: 't1' }])
  })

  test('is made anew after silence; anything heard is a sign of life', () => {
    const bench = new Bench().live()
    bench.link.heartbeats(25_000)
    bench.pass(30_000)
    bench.link.heard(1, bench.now)
    expect(bench.link.wake()).toBe(bench.now + 35_000)
    expect(bench.pass(34_999)).toEqual([])
    expect(bench.pass(1)).toEqual([{ do: 'close', socket: 1, code: 3000 }])
    expect(bench.link.status).toMatchObject({ state: 'waiting', reason: 'nothing was heard' })
  })

  test('without heartbeats is made anew after a minute', () => {
    const bench = new Bench().live()
    bench.link.heartbeats(0)
    expect(bench.pass(59_999)).toEqual([])
    expect(bench.pass(1)).toHaveLength(1)
  })
})

describe('tokens', () => {
  test('after 4003 another one is fetched at once; the same one is not used', () => {
    const bench = new Bench().live()
    expect(bench.closed(1, 4003)).toEqual([{ do: 'token', reason: 'rejected' }])
    expect(bench.token('t1')).toEqual([])
    expect(bench.link.status).toMatchObject({ state: 'waiting' })
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'token', reason: 'rejected' }])
    expect(bench.token('t2')).toEqual([{ do: 'open', socket: 2, token: 't2' }])
    bench.up(2)
    // What was rejected once may be good again later.
    expect(bench.closed(2, 4003)).toEqual([])
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'token', reason: 'rejected' }])
    expect(bench.token('t1')).toEqual([{ do: 'open', socket: 3, token: 't1' }])
  })

  test('one that ends soon is changed on the socket', () => {
    const bench = new Bench().live()
    bench.link.tokenExpires()
    bench.link.tokenExpires()
    expect(bench.effects()).toEqual([{ do: 'token', reason: 'expiring' }])
    expect(bench.token('t2')).toEqual([{ do: 'auth', socket: 1, token: 't2' }])
    bench.closed(1, 1006)
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'open', socket: 2, token: 't2' }])
  })

  test('one that ends soon and cannot be changed now is tried again, as long as there is the socket', () => {
    const bench = new Bench().live()
    bench.link.tokenExpires()
    bench.effects()
    bench.link.gotNoToken(bench.now, 'not now', false)
    expect(bench.link.wake()).toBe(bench.now + 5_000)
    expect(bench.pass(5_000)).toEqual([{ do: 'token', reason: 'expiring' }])
    expect(bench.token('t2')).toEqual([{ do: 'auth', socket: 1, token: 't2' }])
    bench.link.tokenExpires()
    bench.effects()
    bench.link.gotNoToken(bench.now, 'not now', false)
    bench.closed(1, 1006)
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'open', socket: 2, token: 't2' }])
    bench.up(2)
    expect(bench.pass(5_000)).toEqual([])
  })

  test('one that came while the connection was made anew is not blamed for the one before', () => {
    const bench = new Bench().live()
    bench.link.tokenExpires()
    bench.closed(1, 4100)
    bench.token('t2')
    bench.effects()
    // Socket 2 was opened with t1.
    bench.closed(2, 4003)
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'open', socket: 3, token: 't2' }])
  })

  test('that cannot be had is tried again; finally it is the end', () => {
    const bench = new Bench()
    bench.connect()
    bench.link.gotNoToken(bench.now, 'away', false)
    expect(bench.link.status).toMatchObject({ state: 'waiting', reason: 'away' })
    expect(bench.pass(bench.waitMs())).toEqual([{ do: 'token', reason: 'first' }])
    bench.link.gotNoToken(bench.now, 'logged out', true)
    expect(bench.link.status).toEqual({ state: 'closed', reason: 'logged out' })
  })

  test('that cannot be had for a running connection does not end it', () => {
    const bench = new Bench().live()
    bench.link.tokenExpires()
    bench.link.gotNoToken(bench.now, 'logged out', true)
    expect(bench.link.status).toEqual({ state: 'connected' })
  })

  test('that comes after close opens nothing', () => {
    const bench = new Bench()
    bench.connect()
    bench.link.close()
    expect(bench.token('t1')).toEqual([])
  })
})

describe('device and page', () => {
  test('offline it waits for the network, online it begins at once', () => {
    const bench = new Bench().live()
    bench.link.signal('offline', bench.now)
    expect(bench.effects()).toEqual([{ do: 'close', socket: 1, code: 3000 }])
    expect(bench.link.status).toEqual({ state: 'offline' })
    expect(bench.pass(100_000)).toEqual([])
    bench.link.signal('online', bench.now)
    expect(bench.effects()).toEqual([{ do: 'open', socket: 2, token: 't1' }])
    expect(bench.link.status).toEqual({ state: 'connecting' })
  })

  test('begun offline it waits as well', () => {
    const bench = new Bench(false)
    expect(bench.connect()).toEqual([])
    expect(bench.link.status).toEqual({ state: 'offline' })
    bench.link.signal('online', bench.now)
    expect(bench.effects()).toEqual([{ do: 'token', reason: 'first' }])
  })

  test('a token that comes after the network did opens, and says so', () => {
    const bench = new Bench()
    bench.connect()
    bench.link.signal('offline', bench.now)
    bench.link.signal('online', bench.now)
    expect(bench.token('t1')).toEqual([{ do: 'open', socket: 1, token: 't1' }])
    expect(bench.link.status).toEqual({ state: 'connecting' })
  })

  test('a frozen page gives its socket up, a shown one begins at once', () => {
    const bench = new Bench().live()
    bench.link.signal('frozen', bench.now)
    expect(bench.effects()).toEqual([{ do: 'close', socket: 1, code: 3000 }])
    bench.link.signal('online', bench.now)
    expect(bench.effects()).toEqual([])
    bench.link.signal('shown', bench.now)
    expect(bench.effects()).toEqual([{ do: 'open', socket: 2, token: 't1' }])
  })

  test('a page that is shown while it waits does not wait longer; a hidden one does', () => {
    const bench = new Bench().live()
    bench.closed(1, 1006)
    bench.link.signal('hidden', bench.now)
    expect(bench.effects()).toEqual([])
    expect(bench.link.status.state).toBe('waiting')
    bench.link.signal('shown', bench.now)
    expect(bench.effects()).toEqual([{ do: 'open', socket: 2, token: 't1' }])
  })

  test('signals before connecting begin nothing', () => {
    const bench = new Bench()
    for (const signal of ['offline', 'online', 'frozen', 'shown'] as const)
      bench.link.signal(signal, bench.now)
    expect(bench.effects()).toEqual([])
    expect(bench.link.status).toEqual({ state: 'idle' })
  })
})

describe('make before break', () => {
  const leaving = () => {
    const bench = new Bench().live()
    bench.link.changeServer(bench.now, 1_500)
    expect(bench.link.wake()).toBe(bench.now + 1_500)
    expect(bench.pass(1_499)).toEqual([])
    expect(bench.pass(1)).toEqual([{ do: 'open', socket: 2, token: 't1' }])
    return bench
  }

  test('the first is closed when the second is live', () => {
    const bench = leaving()
    bench.link.opened(2, bench.now)
    expect(bench.effects()).toEqual([])
    expect(bench.link.writable).toBe(1)
    bench.link.live(2)
    expect(bench.effects()).toEqual([{ do: 'close', socket: 1, code: 1000 }])
    expect(bench.link.writable).toBe(2)
    expect(bench.link.status).toEqual({ state: 'connected' })
    expect(bench.link.has(1)).toBe(false)
  })

  test('when the second is lost, the first goes on, and it is tried again', () => {
    const bench = leaving()
    bench.closed(2, 1006)
    expect(bench.link.status).toEqual({ state: 'connected' })
    expect(bench.pass(2_000)).toEqual([{ do: 'open', socket: 3, token: 't1' }])
    expect(bench.pass(10_000)).toEqual([{ do: 'close', socket: 3, code: 3000 }])
    expect(bench.link.status).toEqual({ state: 'connected' })
  })

  test('when the first is lost meanwhile, the second takes its place', () => {
    const bench = leaving()
    bench.link.opened(2, bench.now)
    expect(bench.closed(1, 1012, '{"retry_after_ms":1500}')).toEqual([])
    expect(bench.link.status).toEqual({ state: 'connecting' })
    expect(bench.link.writable).toBeUndefined()
    bench.link.live(2)
    expect(bench.link.writable).toBe(2)
    expect(bench.effects()).toEqual([])
  })

  test('when the first is lost before its time, it comes back as after any loss', () => {
    const bench = new Bench().live()
    bench.link.changeServer(bench.now, 1_500)
    bench.closed(1, 1001)
    expect(bench.waitMs()).toBe(750)
    expect(bench.pass(750)).toEqual([{ do: 'open', socket: 2, token: 't1' }])
    bench.up(2)
    expect(bench.pass(10_000)).toEqual([])
  })

  test('when the second is refused its token, another one is fetched, not without end', () => {
    const bench = leaving()
    bench.closed(2, 4003)
    expect(bench.pass(2_000)).toEqual([{ do: 'token', reason: 'rejected' }])
    expect(bench.token('t1')).toEqual([])
    expect(bench.link.wake()).toBe(bench.now + 2_000)
    expect(bench.pass(2_000)).toEqual([{ do: 'token', reason: 'rejected' }])
    bench.link.gotNoToken(bench.now, 'away', false)
    expect(bench.link.wake()).toBe(bench.now + 2_000)
    expect(bench.link.status).toEqual({ state: 'connected' })
    bench.pass(2_000)
    expect(bench.token('t2')).toEqual([{ do: 'open', socket: 3, token: 't2' }])
  })

  test('garbage on the second ends the second', () => {
    const bench = leaving()
    bench.link.opened(2, bench.now)
    bench.link.drop(2, bench.now, 'no JSON')
    expect(bench.effects()).toEqual([{ do: 'close', socket: 2, code: 3000 }])
    expect(bench.link.status).toEqual({ state: 'connected' })
  })
})
