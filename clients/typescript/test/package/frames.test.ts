import { readFileSync } from 'node:fs'
import { expect, expectTypeOf, test } from 'vitest'
import { FRAMES, generate } from '../../scripts/frames.js'
import type { Action, ServerFrame } from '../../src/frames.js'

test('src/frames.ts is what `npm run generate` makes of the schemas', async () => {
  expect(readFileSync(FRAMES, 'utf8')).toBe(await generate())
})

// The type check fails on the following, not the run: `npm run check`.

test('a frame is told apart by its type', () => {
  expectTypeOf<Extract<ServerFrame, { type: 'live' }>>().toEqualTypeOf<{ position: string; type: 'live' }>()
  expectTypeOf<Extract<ServerFrame, { type: 'hello' }>['limits']['page']>().toEqualTypeOf<number>()
  expectTypeOf(narrowed).returns.toEqualTypeOf<string | undefined>()
})

test('an action is told apart by its name', () => {
  expectTypeOf<Extract<Action, { action: 'auth' }>['token']>().toEqualTypeOf<string>()
  expectTypeOf<Extract<Action, { action: 'typing' }>['is_typing']>().toEqualTypeOf<boolean>()
})

test('a frame may carry fields that are not known', () => {
  const frame = { type: 'heartbeat', added: 'later' } as const
  expectTypeOf(frame).toExtend<ServerFrame>()
})

function narrowed(frame: ServerFrame): string | undefined {
  switch (frame.type) {
    case 'chat_message':
      return frame.message.content
    case 'message.status':
      return frame.message_id
    case 'message.failed':
      return frame.local_id ?? frame.code
    default:
      return undefined
  }
}
