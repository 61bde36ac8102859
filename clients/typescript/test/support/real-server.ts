/** The real binary: `parlance serve --dev` on a port of its own, with a data directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where `cargo build -p parlance` puts it, unless `PARLANCE_BIN` says another place. */
const BINARY = process.env.PARLANCE_BIN ?? resolve(import.meta.dirname, '../../../../target/debug/parlance')

export class RealServer {
  private readonly dir = mkdtempSync(join(tmpdir(), 'parlance-client-'))
  private readonly settings: Record<string, string>
  private process: ChildProcess | undefined
  private port = 0

  private constructor(settings: Record<string, string>) {
    this.settings = settings
  }

  /** `settings` by their names in the environment. */
  static async start(settings: Record<string, string> = {}): Promise<RealServer> {
    const server = new RealServer(settings)
    await server.run()
    return server
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  /** A token that opens every conversation; `serial` makes it another one. */
  token(user: string, ttlMs = 3_600_000, serial = 0): string {
    const secret = readFileSync(join(this.dir, 'dev-secret'), 'utf8').trim()
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
    const exp = Math.floor((Date.now() + ttlMs) / 1_000)
    const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, exp, conversations: '*', serial })}`
    return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`
  }

  /** Drains, ends, and comes back under the same address with the same data. */
  async restart(): Promise<void> {
    await this.end('SIGTERM')
    await this.run()
  }

  /** Dies. */
  kill(): Promise<void> {
    return this.end('SIGKILL')
  }

  /** Comes back after `kill`, under the same address with the same data. */
  revive(): Promise<void> {
    return this.run()
  }

  async stop(): Promise<void> {
    await this.end('SIGKILL')
    rmSync(this.dir, { recursive: true, force: true })
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { process: child } = this
    if (!child) return
    const ended = new Promise((settle) => child.once('exit', settle))
    child.kill(signal)
    await ended
  }

  private run(): Promise<void> {
    const args = [
      'serve',
      '--dev',
      '--data-dir',
      this.dir,
      '--listen',
      `127.0.0.1:${this.port}`,
      '--admin-listen',
      '127.0.0.1:0',
    ]
    const child = spawn(BINARY, args, {
      env: { PATH: process.env.PATH, ...this.settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.process = child
    return new Promise((settle, reject) => {
      let said = ''
      const hear = (chunk: Buffer) => {
        said += chunk
        const port = /listens on ws:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1]
        if (port === undefined) return
        this.port = Number(port)
        settle()
      }
      child.stdout?.on('data', hear)
      child.stderr?.on('data', hear)
      child.once('error', (error) => reject(new Error(`cannot run ${BINARY}: ${error.message}`)))
      child.once('exit', (code) =>
        reject(new Error(`${BINARY} ended with ${code} before it listened:\n${said}`)),
      )
    })
  }
}
