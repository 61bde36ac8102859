/** Writes the pictures of docs/demo.md: `npm run screenshots`. */

import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, test } from 'vitest'
import { Demo, type Look, launch, type Phone } from './support/page.js'
import { Server } from './support/server.js'

const images = fileURLToPath(new URL('../../../docs/images', import.meta.url))

let browser: Browser
beforeAll(async () => {
  browser = await launch()
  await mkdir(images, { recursive: true })
})
afterAll(() => browser?.close())

interface Scene {
  readonly demo: Demo
  readonly alice: Phone
  readonly bob: Phone
  readonly server: Server
}

async function picture(
  name: string,
  look: Look,
  act: (scene: Scene) => Promise<void>,
  settings: Record<string, string> = {},
): Promise<void> {
  const server = await Server.start(settings)
  const demo = await Demo.open(browser, server.url, look)
  try {
    const [alice, bob] = [demo.phone('Alice'), demo.phone('Bob')]
    await demo.page.getByRole('button', { name: 'Close the hint' }).click()
    await alice.connected()
    await act({ demo, alice, bob, server })
    await demo.page.screenshot({ path: `${images}/${name}.png` })
  } finally {
    await demo.close()
    await server.stop()
  }
}

async function talk({ alice, bob }: Scene): Promise<void> {
  await alice.write('Are we still on for Saturday?')
  await bob.write('Yes! 9:40, platform 4')
  await alice.message('Yes! 9:40, platform 4').waitFor()
  await alice.write('I bring the sandwiches 🥪')
  await alice.tick('I bring the sandwiches 🥪', 'read').waitFor()
}

const WIDE: Look = { width: 1300, height: 620 }

test('both phones', () =>
  picture('demo-light', WIDE, async (scene) => {
    await talk(scene)
    await scene.bob.field.pressSequentially('And I bring')
    await scene.alice.log.locator('.typing').waitFor()
  }))

test('offline, in the dark', () =>
  picture('demo-offline-dark', { width: 820, height: 760, dark: true }, async (scene) => {
    const { alice, bob } = scene
    await talk(scene)
    await alice.control('Go offline')
    await alice.state('Offline')
    await alice.write('In the tunnel now')
    await alice.write('Can you hear me?')
    await bob.write('Hello?')
    await bob.message('Hello?').waitFor()
  }))

test('a closed tab', () =>
  picture('demo-tab-closed', { width: 820, height: 760 }, async (scene) => {
    const { alice, bob } = scene
    await talk(scene)
    await bob.control('Kill the tab')
    await alice.write('See you there')
    await alice.tick('See you there', 'sent').waitFor()
    await alice.frame.locator('.doing', { hasText: 'offline' }).waitFor()
  }))

test('edited, deleted, and the menu', () =>
  picture('demo-edit', { width: 820, height: 760 }, async (scene) => {
    const { alice, bob } = scene
    await talk(scene)
    await alice.write('Teh weather looks good')
    await bob.write('Wrong chat, sorry')
    await alice.message('Wrong chat, sorry').waitFor()
    await bob.message('Wrong chat, sorry').getByRole('button').click()
    await bob.frame.getByRole('menuitem', { name: 'Delete' }).click()
    await alice.field.press('ArrowUp')
    await alice.write('The weather looks good')
    await bob.message('The weather looks good').getByText('edited').waitFor()
    await bob.write('It does')
    await alice.message('It does').waitFor()
    await alice.message('The weather looks good').getByRole('button').click()
    await bob.field.press('ArrowUp')
  }))

test('a long absence', () =>
  picture(
    'demo-gap-dark',
    { width: 820, height: 760, dark: true },
    async (scene) => {
      const { bob, server } = scene
      await talk(scene)
      await bob.control('Go offline')
      await bob.state('Offline')
      await server.say('carol', ...Array.from({ length: 130 }, (_, at) => `Stop ${at + 1} of the line`))
      await bob.control('Back online')
      await bob.message('Stop 130 of the line').waitFor()
      await bob.log.locator('.gap').waitFor()
    },
    { PARLANCE_LIMITS__RESUME_EVENTS: '20' },
  ))

test('refused, on a narrow screen', () =>
  picture(
    'demo-failed-narrow',
    { width: 360, height: 740 },
    async ({ alice }) => {
      await alice.write('Short enough')
      await alice.tick('Short enough', 'delivered').waitFor()
      await alice.control('Go offline')
      await alice.control('Kill the tab')
      await alice.control('Come back')
      await alice.state('Offline')
      await alice.write('This one is longer than this server takes, and it was written before its limit was known.')
      await alice.control('Back online')
      await alice.log.locator('.failure').waitFor()
      await alice.message('Short enough').waitFor()
      await alice.page.evaluate(() => scrollTo(0, 0))
    },
    { PARLANCE_LIMITS__CONTENT_BYTES: '80' },
  ))
