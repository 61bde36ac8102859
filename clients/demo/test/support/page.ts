/** The demo in a real browser, and what a person does there. */

import {
  type Browser,
  type BrowserContext,
  chromium,
  type FrameLocator,
  type Locator,
  type Page,
} from 'playwright-core'

/** Until something that has to happen has happened. */
export const DEADLINE_MS = 20_000

/** Chromium of the system: `CHROMIUM_BIN` names another. */
export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
}

export interface Look {
  readonly width?: number
  readonly height?: number
  readonly dark?: boolean
}

/** The page with both phones, and everything that went wrong on it. */
export class Demo {
  readonly faults: string[] = []
  readonly requests: { readonly type: string; readonly url: string }[] = []

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async open(browser: Browser, url: string, look: Look = {}): Promise<Demo> {
    const { width = 1280, height = 900, dark = false } = look
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      reducedMotion: 'reduce',
      locale: 'en-GB',
    })
    context.setDefaultTimeout(DEADLINE_MS)
    const page = await context.newPage()
    const demo = new Demo(context, page)
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') demo.faults.push(message.text())
    })
    page.on('pageerror', (error) => demo.faults.push(String(error)))
    page.on('request', (request) => demo.requests.push({ type: request.resourceType(), url: request.url() }))
    page.on('websocket', (socket) => demo.requests.push({ type: 'websocket', url: socket.url() }))
    await page.goto(`${url}/demo`)
    return demo
  }

  phone(name: 'Alice' | 'Bob'): Phone {
    return new Phone(this.page, name)
  }

  close(): Promise<void> {
    return this.context.close()
  }
}

export class Phone {
  readonly frame: FrameLocator
  readonly seat: Locator
  readonly log: Locator
  readonly field: Locator
  readonly bubbles: Locator

  constructor(
    readonly page: Page,
    readonly name: 'Alice' | 'Bob',
  ) {
    this.seat = page.locator(`#seat-${name.toLowerCase()}`)
    this.frame = page.frameLocator(`iframe[title="${name}’s phone"]`)
    this.log = this.frame.getByRole('log')
    this.field = this.frame.getByRole('textbox')
    this.bubbles = this.log.locator('.message')
  }

  async connected(): Promise<void> {
    await this.state('Connected')
  }

  async state(words: string): Promise<void> {
    await this.frame.locator('.pill', { hasText: words }).waitFor()
  }

  async write(text: string): Promise<void> {
    await this.field.fill(text)
    await this.field.press('Enter')
  }

  /** The message with exactly this content. */
  message(content: string): Locator {
    return this.bubbles.filter({ has: this.page.locator('.content', { hasText: exactly(content) }) })
  }

  tick(content: string, state: string): Locator {
    return this.message(content).locator(`.tick.${state}`)
  }

  contents(): Promise<string[]> {
    return this.bubbles.locator('.content').allTextContents()
  }

  async control(words: string): Promise<void> {
    await this.seat.getByRole('button', { name: words }).click()
  }
}

/** Any blanks stand for any others. */
function exactly(text: string): RegExp {
  const words = text.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${words.join('\\s+')}$`)
}
