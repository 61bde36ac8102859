import { defineConfig } from 'vitest/config'

/**
 * - `unit`: pieces by themselves, with time, chance and the socket given
 * - `fake`: the client against a scripted server in the same process
 * - `real`: the client against the real server, the binary that PARLANCE_BIN names
 * - `browser`: the built client in Chromium, with the real server
 * - `package`: what is published, what is generated, and what the documents say
 */
/** Those that look at what is built. */
const BUILT = ['browser', 'package']
const TIMEOUT_MS = { unit: 10_000, fake: 20_000, real: 120_000, browser: 120_000, package: 120_000 }

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: Object.entries(TIMEOUT_MS).map(([name, testTimeout]) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.{ts,tsx}`],
        globalSetup: BUILT.includes(name) ? 'test/package/build.ts' : [],
        testTimeout,
        hookTimeout: testTimeout,
      },
    })),
  },
})
