// Builds the demo into crates/parlance/assets/demo, where the program embeds it. `--check` compares
// instead, and says what is stale.

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
export const target = join(here, '../../crates/parlance/assets/demo')

const COPIED = ['page.html', 'phone.html', 'elsewhere.html', 'icon.svg']

/** Everything that is embedded, by name. */
export async function built() {
  const bundled = await build({
    absWorkingDir: here,
    entryPoints: ['src/page.ts', 'src/page.css', 'src/phone.ts', 'src/phone.css'],
    alias: { '@parlance/client': join(here, '../typescript/src/index.ts') },
    bundle: true,
    minify: true,
    charset: 'utf8',
    format: 'esm',
    target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
    outdir: target,
    write: false,
    legalComments: 'none',
  })
  const files = new Map(bundled.outputFiles.map((file) => [relative(target, file.path), Buffer.from(file.contents)]))
  for (const name of COPIED) files.set(name, await readFile(join(here, 'static', name)))
  return files
}

/** The names of the files that are not what the sources would give. */
export async function stale() {
  const same = async ([name, bytes]) => bytes.equals(await readFile(join(target, name)).catch(() => Buffer.alloc(0)))
  const files = [...(await built())]
  const isSame = await Promise.all(files.map(same))
  return files.filter((_, at) => !isSame[at]).map(([name]) => name)
}

async function main() {
  if (process.argv.includes('--check')) {
    const names = await stale()
    if (names.length > 0) throw new Error(`stale: ${names.join(', ')}; run \`npm run build\` in clients/demo`)
    return
  }
  await mkdir(target, { recursive: true })
  for (const [name, bytes] of await built()) {
    await writeFile(join(target, name), bytes)
    console.log(`${String(bytes.length).padStart(7)} ${name}`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
