import { readdirSync } from 'node:fs'
import type { ValidateFunction } from 'ajv'
import { describe, expect, test } from 'vitest'
import { isAction, isServerFrame, json, ROOT, text } from './schemas.js'

/** A case of tests/frames; its README says what the fields mean. */
interface Case {
  name: string
  frame?: unknown
  text?: string
  repeat?: Record<string, [string, number]>
  schema_refuses?: boolean
}

describe('docs/protocol.md', () => {
  const examples = [...text('docs/protocol.md').matchAll(/^```json\n(.*?)^```/gms)]
    .flatMap(([, block]) => (block ?? '').trim().split('\n'))
    .map((line) => [line] as const)

  test('has examples', () => {
    expect(examples.length).toBeGreaterThan(30)
  })

  test.each(examples)('%s', (line) => {
    const frame = JSON.parse(line) as object
    expectValid('action' in frame && !('type' in frame) ? isAction : isServerFrame, frame)
  })
})

describe.each(['base', 'extended'])('tests/frames/events/%s', (layer) => {
  test.each(cases(`tests/frames/events/${layer}`))('%s', (_, one) => {
    expectValid(isServerFrame, one.frame)
  })
})

describe('tests/frames/actions/good', () => {
  test.each(cases('tests/frames/actions/good'))('%s', (_, one) => {
    expectValid(isAction, frameOf(one))
  })
})

describe('tests/frames/actions/bad', () => {
  const judged = cases('tests/frames/actions/bad').filter(([, one]) => one.schema_refuses !== undefined)

  test.each(judged)('%s', (_, one) => {
    expect(isAction(frameOf(one))).toBe(!one.schema_refuses)
  })
})

function cases(folder: string): [string, Case][] {
  return readdirSync(`${ROOT}${folder}`).flatMap((file) =>
    json<Case[]>(`${folder}/${file}`).map((one): [string, Case] => [`${file}: ${one.name}`, one]),
  )
}

function frameOf({ frame, text = JSON.stringify(frame), repeat = {} }: Case): unknown {
  const whole = Object.entries(repeat).reduce(
    (done, [mark, [piece, times]]) => done.replaceAll(mark, piece.repeat(times)),
    text,
  )
  return JSON.parse(whole)
}

function expectValid(validate: ValidateFunction, frame: unknown): void {
  validate(frame)
  expect(validate.errors ?? []).toEqual([])
}
