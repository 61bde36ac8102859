import { expect, test } from 'vitest'
// @ts-expect-error: the build is plain JavaScript
import { stale } from '../../build.js'

test('what the program embeds is what the sources give: if not, `npm run build` in clients/demo', async () => {
  expect(await stale()).toEqual([])
})
