import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { PACKAGE, run } from './run.js'
import { text } from './schemas.js'

/** What the examples take from the application around them. */
const AROUND = `
declare const render: (message: import('@parlance/client').Message) => void
declare const showConnection: (connection: import('@parlance/client').Connection) => void
declare const showTyping: (names: string[]) => void
declare const setToken: (token: string) => void
declare const log: (text: string) => void
`

describe.each(['docs/client.md', 'clients/typescript/README.md'])('%s', (path) => {
  test('its examples are right for the compiler', () => {
    const examples = [...text(path).matchAll(/^```(tsx?)\n(.*?)^```/gms)]
    expect(examples.length).toBeGreaterThan(0)
    // Inside of the package, which there has the name that users import it by.
    mkdirSync(join(PACKAGE, '.examples'), { recursive: true })
    const folder = mkdtempSync(join(PACKAGE, '.examples/'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    examples.forEach(([, language, code], at) => {
      writeFileSync(join(folder, `example-${at}.${language}`), `${code}\nexport {}\n`)
    })
    writeFileSync(join(folder, 'around.d.ts'), AROUND)
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(OPTIONS))
    run('node_modules/.bin/tsc', ['--project', folder])
  })
})

const OPTIONS = {
  extends: '../../tsconfig.test.json',
  compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
  include: ['.'],
}
