/**
 * Makes src/frames.ts: the types of what goes over the wire, out of the JSON Schemas in docs/schema, which
 * the server's own types are the source of.
 *
 * `npm run generate` runs it after the schemas changed; test/package/frames.test.ts fails until then.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compile } from 'json-schema-to-typescript'

const HEAD = `/**
 * What goes over the wire, as docs/protocol.md describes it. A frame may carry more fields than are here,
 * and there may be more kinds of frames.
 *
 * Generated from docs/schema by \`npm run generate\`: never changed by hand.
 */`
const PACKAGE = fileURLToPath(new URL('..', import.meta.url))
const REF = '#/$defs/'
/** What the generator says below each description, of its own names for things. */
const REMARK = / \*\n \* This interface was referenced by .*\n \* via the .*\n/g

/** Where the types are kept. */
export const FRAMES = fileURLToPath(new URL('../src/frames.ts', import.meta.url))

/** The text that should be there. */
export async function generate() {
  const types = await compile(byName(whole(read('server-frames'), read('client-actions'))), 'Wire', {
    additionalProperties: false,
    bannerComment: HEAD,
    format: false,
    unreachableDefinitions: true,
  })
  return formatted(types).replace(REMARK, '')
}

function read(name) {
  return JSON.parse(
    readFileSync(new URL(`../../../docs/schema/${name}.schema.json`, import.meta.url), 'utf8'),
  )
}

/** Both in one, because both define ids. */
function whole({ $defs: ofServer, ...server }, { $defs: ofClient, ...client }) {
  for (const [name, definition] of Object.entries(ofClient)) {
    if (name in ofServer && JSON.stringify(ofServer[name]) !== JSON.stringify(definition)) {
      throw new Error(`the schemas mean different things by ${name}: rename one in crates/protocol`)
    }
  }
  return {
    description: 'Either direction.',
    type: 'object',
    properties: {
      server: { $ref: `${REF}${server.title}` },
      client: { $ref: `${REF}${client.title}` },
    },
    required: ['server', 'client'],
    // The older name of `$defs`: of this one, unused members are written too.
    definitions: { [server.title]: server, [client.title]: client, ...ofServer, ...ofClient },
  }
}

/** A reference with a description of its own would else be written out in full. */
function byName(schema) {
  if (Array.isArray(schema)) return schema.map(byName)
  if (typeof schema !== 'object' || schema === null) return schema
  const { $ref, ...rest } = schema
  if ($ref) return { ...rest, tsType: $ref.slice(REF.length) }
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, byName(value)]))
}

function formatted(text) {
  const biome = fileURLToPath(new URL('../node_modules/.bin/biome', import.meta.url))
  return execFileSync(biome, ['format', '--stdin-file-path=src/frames.ts'], {
    cwd: PACKAGE,
    input: text,
    encoding: 'utf8',
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FRAMES, await generate())
