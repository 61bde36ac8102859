import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

/** The repository. */
export const ROOT: string = fileURLToPath(new URL('../../../..', import.meta.url))

/** A text file of the repository. */
export function text(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8')
}

/** A JSON file of the repository. */
export function json<T>(path: string): T {
  return JSON.parse(text(path)) as T
}

// `uint64` and the like are for generators of code: their `minimum` is what is checked.
const ajv = new Ajv2020({ validateFormats: false, allowUnionTypes: true })

/** What the server sends. */
export const isServerFrame: ValidateFunction = ajv.compile(json('docs/schema/server-frames.schema.json'))
/** What a client sends. */
export const isAction: ValidateFunction = ajv.compile(json('docs/schema/client-actions.schema.json'))
