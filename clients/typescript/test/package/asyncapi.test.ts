import { type AsyncAPIDocumentInterface, fromFile, Parser } from '@asyncapi/parser'
import { beforeAll, describe, expect, test } from 'vitest'
import { json, ROOT } from './schemas.js'

interface Schema {
  oneOf: { properties: Record<string, { const?: string; enum?: string[] }> }[]
}

let document: AsyncAPIDocumentInterface

beforeAll(async () => {
  const parsed = await fromFile(new Parser(), `${ROOT}docs/asyncapi.yaml`).parse()
  const complaints = parsed.diagnostics
    // Most tools read 3.0 and not 3.1.
    .filter(({ code }) => code !== 'asyncapi-latest-version')
    .map(({ message, path, range }) => `line ${range.start.line + 1}, ${path.join('.')}: ${message}`)
  expect(complaints).toEqual([])
  if (!parsed.document) throw new Error('the parser gave no document')
  document = parsed.document
})

describe.each([
  { schema: 'client-actions', key: 'action', operations: 'receive' },
  { schema: 'server-frames', key: 'type', operations: 'send' },
])('docs/asyncapi.yaml has all of $schema', ({ schema, key, operations }) => {
  const inSchema = json<Schema>(`docs/schema/${schema}.schema.json`).oneOf.map(({ properties }) => {
    const { const: one, enum: several } = properties[key] ?? {}
    return one ?? several?.[0]
  })

  test('each kind is a message with its own payload', () => {
    for (const message of messages()) {
      const discriminator = message.payload()?.property(key)
      expect(discriminator?.const() ?? discriminator?.enum()?.[0]).toBe(message.name())
    }
  })

  test('no kind is missing', () => {
    expect(new Set(messages().map((message) => message.name()))).toEqual(new Set(inSchema))
  })

  function messages() {
    return document
      .operations()
      .filter((operation) => operation.action() === operations)
      .flatMap((operation) => operation.messages().all())
  }
})
