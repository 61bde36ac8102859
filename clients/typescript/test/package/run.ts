import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The folder of this package. */
export const PACKAGE: string = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a program in a folder, and returns what it printed; if it fails, that is in the error. */
export function run(program: string, parameters: string[], cwd: string = PACKAGE): string {
  try {
    return execFileSync(program, parameters, { cwd, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string }
    throw new Error(`${message}\n${stdout ?? ''}${stderr ?? ''}`)
  }
}
