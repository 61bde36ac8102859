import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PACKAGE, run } from './run.js'

/** What they are, and a little: a dependency or a careless build does not come in unseen. `./react` is counted without React and without the core, which are there anyway. */
const LIMIT_BYTES = { index: 14_500, react: 2_000 }
const EXPORTS = {
  '@parlance/client': 'ChatClient,ChatError,Conversation,indexedDbStore,localStore,memoryStore',
  '@parlance/client/react':
    'ChatProvider,useChatClient,useConnection,useConversation,usePresence,useTyping,useUnread',
}

let folder: string
let tarball: string

// What is packed and then installed is the built package, in a folder of its own far from the sources.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'parlance-client-'))
  run('npm', ['pack', '--silent', '--pack-destination', folder])
  const [packed] = readdirSync(folder)
  tarball = join(folder, packed ?? '')
  writeFileSync(join(folder, 'package.json'), '{}')
  run('npm', ['install', '--silent', '--offline', '--no-audit', '--no-fund', tarball], folder)
})

afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe.each(Object.entries(LIMIT_BYTES))('%s', (entry, limit_bytes) => {
  test(`is at most ${limit_bytes} bytes, minified and by gzip -9`, async () => {
    const bundle = await build({
      entryPoints: [join(PACKAGE, `dist/${entry}.js`)],
      external: ['react'],
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      write: false,
    })
    const [file] = bundle.outputFiles
    expect(gzipSync(file?.contents ?? '', { level: 9 }).length).toBeLessThanOrEqual(limit_bytes)
  })
})

test('nothing is packed but what is meant to be', () => {
  const files = run('tar', ['--list', '--file', tarball], folder).trim().split('\n')
  const names = files.map((file) => file.replace('package/', '').replace(/-[\w-]{8}\./, '-HASH.'))
  expect(new Set(names)).toEqual(
    new Set([
      'LICENSE',
      'README.md',
      'package.json',
      'dist/index.cjs',
      'dist/index.d.cts',
      'dist/index.d.ts',
      'dist/index.js',
      'dist/index-HASH.d.cts',
      'dist/index-HASH.d.ts',
      'dist/react.cjs',
      'dist/react.d.cts',
      'dist/react.d.ts',
      'dist/react.js',
    ]),
  )
})

test('nothing comes with it when it is installed', () => {
  expect(readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual([
    '@parlance',
  ])
  expect(readdirSync(join(folder, 'node_modules/@parlance'))).toEqual(['client'])
})

test('publint has nothing to say', async () => {
  const { messages, pkg } = await publint({
    pkgDir: join(folder, 'node_modules/@parlance/client'),
    pack: false,
    strict: true,
  })
  expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
})

test('types are found by every way of resolving modules that is not deprecated', () => {
  const attw = join(PACKAGE, 'node_modules/.bin/attw')
  run(attw, [tarball, '--profile', 'node16', '--no-color', '--no-emoji'])
})

describe.each(Object.entries(EXPORTS))('%s', (name, exports) => {
  // A user of hooks has React.
  beforeAll(() => {
    const react = join(folder, 'node_modules/react')
    if (!existsSync(react)) symlinkSync(join(PACKAGE, 'node_modules/react'), react)
  })

  test('can be imported', () => {
    const code = `import('${name}').then((module) => console.log(Object.keys(module).sort().join()))`
    expect(run('node', ['--input-type=module', '--eval', code], folder).trim()).toBe(exports)
  })

  test('can be required', () => {
    const code = `console.log(Object.keys(require('${name}')).sort().join())`
    expect(run('node', ['--input-type=commonjs', '--eval', code], folder).trim()).toBe(exports)
  })
})

test('the lock file names no registry but the public one', () => {
  const lock = readFileSync(join(PACKAGE, 'package-lock.json'), 'utf8')
  const hosts = [...lock.matchAll(/"resolved": "([a-z]+:\/\/[^/]+)/g)].map(([, host]) => host)
  expect(new Set(hosts)).toEqual(new Set(['https://registry.npmjs.org']))
})
