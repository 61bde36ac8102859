/** `RUNS=1000` runs so many; `SEED` and `RUN` run one again. */

import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RealServer } from '../support/real-server.js'
import { run, schedules } from '../support/schedules.js'

const RUNS = Number(process.env.RUNS ?? 50)
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const AT_ONCE = 6

let server: RealServer
beforeAll(async () => {
  server = await RealServer.start()
})
afterAll(() => server.stop())

test(
  `schedules: ${RUNS} random ones lose nothing, double nothing, and keep the order`,
  async () => {
    const all = fc.sample(fc.noBias(schedules), { numRuns: RUNS, seed: SEED })
    const only = process.env.RUN === undefined ? undefined : Number(process.env.RUN)
    const wrong: string[] = []
    let messages = 0
    let next = 0
    const worker = async () => {
      while (next < all.length) {
        const at = next
        next += 1
        if (only !== undefined && at !== only) continue
        const schedule = all[at]
        if (!schedule) return
        try {
          const said = await run(server, schedule)
          messages += said
        } catch (error) {
          wrong.push(`SEED=${SEED} RUN=${at}: ${JSON.stringify(schedule)}\n${error}`)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    console.info(
      `${RUNS} schedules, seed ${SEED}: ${messages} messages, ${wrong.length} schedules went wrong`,
    )
    expect(wrong.slice(0, 3).join('\n\n')).toBe('')
  },
  // A hang is a failure, however many there are.
  30_000 + RUNS * 2_000,
)
