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

  private constructor(
    private readonly dir: string,
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  /** Starts the program that `PARLANCE_BIN` names, on a port that the system chooses. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), 'parlance-demo-')), settings)
    await server.begin()
    return server
  }

  get url(): string {
    return `http://${this.listen}`
  }

  /** On the same port, with the same data. */
  async begin(): Promise<void> {
    const flags = ['serve', '--dev', '--listen', this.listen, '--admin-listen', '127.0.0.1:0', '--data-dir', 'data']
    const child = spawn(program(), flags, { cwd: this.dir, env: this.settings, stdio: ['ignore', 'ignore', 'pipe'] })
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

  /** Somebody without a phone says something in the conversation of the phones, each line a message. */
  async say(user: string, ...lines: string[]): Promise<void> {
    const url = this.url.replace('http', 'ws')
    const flags = ['chat', 'lobby', '--sub', user, '--url', url, '--data-dir', 'data']
    const child = spawn(program(), flags, { cwd: this.dir, env: {}, stdio: ['pipe', 'ignore', 'inherit'] })
    child.stdin.end(`${lines.join('\n')}\n`)
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`\`parlance chat\` ended with ${code}`)
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

function program(): string {
  const { PARLANCE_BIN } = process.env
  if (!PARLANCE_BIN) throw new Error('PARLANCE_BIN names no program')
  return resolve(PARLANCE_BIN)
}

function parsed(line: string): { message?: string; listen: string } {
  try {
    return JSON.parse(line)
  } catch {
    return { listen: '' }
  }
}
