import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: {
    alias: { '@parlance/client': fileURLToPath(new URL('../typescript/src/index.ts', import.meta.url)) },
  },
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          // One browser and one server at a time: the tests wait for events, and a machine that is
          // shared by several browsers makes them wait for long.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      { extends: true, test: { name: 'screenshots', include: ['test/screenshots.ts'], testTimeout: 60_000 } },
    ],
  },
})
