/** `RUNS=2000` runs so many; a failure names its seed and path, and is made small. */

import fc from 'fast-check'
import { afterAll, beforeAll, test } from 'vitest'
import type { FakeConnection } from '../support/fake-server.js'
import { FakeServer } from '../support/fake-server.js'
import { run, schedules } from '../support/schedules.js'

const RUNS = Number(process.env.RUNS ?? 200)
/** A hang is a failure, however many there are. */
const LIMIT_MS = 60_000 + RUNS * 500

let server: FakeServer
/** What is done with the next send of a room, instead of what the protocol says. */
const next = new Map<string, 'swallow' | 'refuse' | 'twice' | 'lose the answer'>()

beforeAll(async () => {
  server = await FakeServer.start({ storesAtOnce: false, resumeEvents: 10 })
  server.onAction = (connection, action, act) => {
    const how = action.action === 'send_message' ? next.get(roomOf(connection)) : undefined
    if (how === undefined) return act()
    next.delete(roomOf(connection))
    if (how === 'swallow') return connection.cut()
    if (how === 'refuse') {
      const local_id = 'local_id' in action ? (action.local_id ?? null) : null
      const [error, code] = ['not now', 'unavailable'] as const
      return connection.tell({
        type: 'message.failed',
        local_id,
        error,
        code,
        retryable: true,
        retry_after_ms: 1,
      })
    }
    if (how === 'lose the answer') {
      server.connections().forEach((one) => {
        if (one.user === connection.user && one.room === connection.room) one.cut()
      })
      return act()
    }
    act()
    act()
  }
})
afterAll(() => server.stop())

function roomOf(connection: FakeConnection): string {
  return [...server.rooms].find(([, room]) => room === connection.room)?.[0] ?? ''
}

function disturb(id: string, what: number): boolean {
  const room = server.room(id)
  const all = [...room.connections]
  switch (what) {
    case 0:
      server.lose(room, String(room.storedId))
      return true
    case 1:
      server.store(room)
      return false
    case 2:
      for (const one of all) one.close(1012, '{"retry_after_ms":1}')
      return false
    case 3:
      next.set(id, 'swallow')
      return false
    case 4:
      next.set(id, 'refuse')
      return false
    case 5:
      next.set(id, 'twice')
      return false
    case 6:
      next.set(id, 'lose the answer')
      return false
    case 7:
      for (const one of all) one.tell({ type: 'reconnect', after_ms: 1, reason: 'rebalance' })
      return false
    case 8:
      for (const one of all) one.close(4100)
      return false
    default:
      for (const one of all) one.cut()
      return false
  }
}

test(
  `schedules: ${RUNS} random ones on a server that misbehaves`,
  async () => {
    const property = fc.asyncProperty(schedules, async (schedule) => {
      await run(server, schedule, disturb)
    })
    // The limit ends the search for a smaller one, too.
    await fc.assert(property, {
      numRuns: RUNS,
      interruptAfterTimeLimit: LIMIT_MS,
      markInterruptAsFailure: true,
    })
  },
  LIMIT_MS + 30_000,
)
