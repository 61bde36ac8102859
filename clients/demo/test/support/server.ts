/** A real `parlance serve --dev`, in a directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

export class Server {
  private child: ChildProcess | undefined
  private listen = '127.0.0.1:0'

  private constructor(private readonly dir: string) {}

  /** Starts the program that `PARLANCE_BIN` names, on a port that the system chooses. */
  static async start(): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), 'parlance-demo-')))
    await server.begin()
    return server
  }

  get url(): string {
    return `http://${this.listen}`
  }

  /** On the same port, with the same data. */
  async begin(): Promise<void> {
    const { PARLANCE_BIN } = process.env
    if (!PARLANCE_BIN) throw new Error('PARLANCE_BIN names no program')
    const flags = ['serve', '--dev', '--listen', this.listen, '--admin-listen', '127.0.0.1:0', '--data-dir', 'data']
    const child = spawn(resolve(PARLANCE_BIN), flags, { cwd: this.dir, env: {}, stdio: ['ignore', 'ignore', 'pipe'] })
    this.child = child
    const said: string[] = []
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line)
      const { message, listen } = parsed(line)
      if (message !== 'serving') continue
      this.listen = listen
      // It goes on saying things; somebody has to read them.
      child.stderr.resume()
      return
    }
    throw new Error(`the server does not start: ${said.join('\n')}`)
  }

  /** Ends it as if it had crashed. */
  async kill(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (!child || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.dir, { recursive: true, force: true })
  }
}

function parsed(line: string): { message?: string; listen: string } {
  try {
    return JSON.parse(line)
  } catch {
    return { listen: '' }
  }
}
