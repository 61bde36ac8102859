/** Browsers: Debian's Chromium, and Firefox where FIREFOX_BIN names one. */

import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'
import puppeteer from 'puppeteer-core'

/** A page, as both libraries have it. */
export interface Page {
  goto(url: string): Promise<unknown>
  reload(): Promise<unknown>
  evaluate<T, A>(run: (argument: A) => T | Promise<T>, argument: A): Promise<T>
  close(): Promise<void>
}

/** One user's browser: tabs share storage, locks and channels, and nothing with other windows. */
export interface Window {
  tab(): Promise<Page>
  /** Takes the network away, where the library can. */
  setOffline?(isOffline: boolean): Promise<void>
  close(): Promise<void>
}

export interface Browser {
  window(): Promise<Window>
  /** Every address that a page asked for, sockets included. */
  readonly requests: string[]
  /** What pages reported as broken. */
  readonly faults: string[]
  close(): Promise<void>
}

interface Engine {
  readonly name: string
  readonly canBeOffline: boolean
  launch(): Promise<Browser>
}

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium'
const FIREFOX = process.env.FIREFOX_BIN

export const ENGINES: Engine[] = [
  { name: 'Chromium', canBeOffline: true, launch: launchChromium },
  ...(FIREFOX === undefined
    ? []
    : [{ name: 'Firefox', canBeOffline: false, launch: () => launchFirefox(FIREFOX) }]),
]

async function launchChromium(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`there is no ${CHROMIUM}: install chromium, or name one in CHROMIUM_BIN`)
  }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  const [requests, faults]: [string[], string[]] = [[], []]
  return {
    requests,
    faults,
    close: () => browser.close(),
    async window() {
      const context = await browser.newContext()
      context.on('request', (request) => requests.push(request.url()))
      context.on('page', (page) => {
        page.on('pageerror', (error) => faults.push(String(error)))
        page.on('websocket', (socket) => requests.push(socket.url()))
      })
      return {
        tab: async () => (await context.newPage()) as unknown as Page,
        setOffline: (isOffline) => context.setOffline(isOffline),
        close: () => context.close(),
      }
    },
  }
}

async function launchFirefox(executablePath: string): Promise<Browser> {
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath })
  const [requests, faults]: [string[], string[]] = [[], []]
  return {
    requests,
    faults,
    close: () => browser.close(),
    async window() {
      const context = await browser.createBrowserContext()
      return {
        async tab() {
          const page = await context.newPage()
          // It tells of sockets as of any request.
          page.on('request', (request) =>
            requests.push(request.url().replace(/^http(?=.*\/conversations\/)/, 'ws')),
          )
          page.on('pageerror', (error) => {
            if (!isRefusal(String(error))) faults.push(String(error))
          })
          return page as unknown as Page
        },
        close: () => context.close(),
      }
    },
  }
}

/** Firefox reports a server that is away as if it were the page's fault. */
function isRefusal(fault: string): boolean {
  return /can.t establish a connection|was interrupted while the page was loading/.test(fault)
}
