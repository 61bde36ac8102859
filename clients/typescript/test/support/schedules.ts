/**
 * Random schedules: somebody with two tabs says, changes and takes back messages, while connections break,
 * acknowledgements get lost, pages are reloaded and closed. At the end everything must be in the history
 * exactly once, in the order in which each tab said it, and every tab must show what a fresh fetch shows.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as passes } from 'node:timers/promises'
import fc from 'fast-check'
import type { Message, Sent } from '../../src/types.js'
import { Device } from './device.js'
import { arrives, facts, type Person, type ServerHandle, until, wholeHistory } from './people.js'

/** Until what has to be so in the end is so: only a hang takes as long. */
const LIMIT_MS = 10_000

/** Which tab of the user. */
type Slot = 0 | 1

export type Step =
  | { readonly do: 'say'; readonly slot: Slot }
  /** Says something and tries to take it back. */
  | { readonly do: 'say and cancel'; readonly slot: Slot }
  | { readonly do: 'edit' | 'delete'; readonly slot: Slot; readonly which: number }
  | { readonly do: 'cut' | 'reload' | 'close' | 'offline' | 'online'; readonly slot: Slot }
  /** Nothing that the server, or the client, says arrives any more, until the connection breaks. */
  | { readonly do: 'go deaf' | 'go mute'; readonly slot: Slot }
  | { readonly do: 'cut the other user' }
  | { readonly do: 'wait'; readonly ms: number }
  /** Something that the server does, if the test has a hand in it. */
  | { readonly do: 'server'; readonly what: number }

export interface Schedule {
  readonly tabs: 1 | 2
  readonly steps: readonly Step[]
}

/** What was wanted of one message. */
interface Wanted {
  readonly localId: string
  readonly slot: Slot
  readonly content: string
  /** What it may say at the end. */
  readonly edits: string[]
  isDeleted: boolean
}

const slots = fc.constantFrom<Slot>(0, 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('say' as const), slot: slots }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('say and cancel' as const), slot: slots }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('edit' as const, 'delete' as const),
      slot: slots,
      which: fc.nat(30),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'cut' as const,
        'reload' as const,
        'close' as const,
        'offline' as const,
        'online' as const,
        'go deaf' as const,
        'go mute' as const,
      ),
      slot: slots,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'cut the other user' as const }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('server' as const), what: fc.nat(9) }) },
)

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  tabs: fc.constantFrom<1 | 2>(1, 2),
  steps: fc.array(step, { minLength: 3, maxLength: 40, size: 'max' }),
})

/** Does one of the server's steps. Returns whether the log may have lost something by it. */
export type Disturb = (room: string, what: number) => boolean

/** Runs one. Throws what is wrong at its end. */
export async function run(
  server: ServerHandle,
  schedule: Schedule,
  disturb: Disturb = () => false,
): Promise<number> {
  const scene = new Scene(server, schedule.tabs)
  try {
    for (const one of schedule.steps) await scene.take(one, disturb)
    return await scene.judge()
  } finally {
    scene.end()
  }
}

class Scene {
  private readonly server: ServerHandle
  private readonly room = `schedule-${randomUUID()}`
  private readonly user = `u-${randomUUID().slice(0, 8)}`
  private readonly device = new Device()
  private readonly tabs: (Person | undefined)[] = []
  private readonly other: Person
  private readonly pages: Person[] = []
  private readonly wanted: Wanted[] = []
  private readonly count: number
  /** Whether the log lost something: a change of what was lost just then is refused. */
  private isLossy = false

  constructor(server: ServerHandle, count: number) {
    this.server = server
    this.count = count
    this.other = this.page(`o-${this.user}`, new Device())
    for (let slot = 0; slot < count; slot += 1) this.open(slot)
  }

  async take(step: Step, disturb: Disturb): Promise<void> {
    switch (step.do) {
      case 'say':
        this.say(step.slot)
        return
      case 'say and cancel': {
        const sent = this.say(step.slot)
        if (sent.cancel()) this.wanted.pop()
        return
      }
      case 'edit':
      case 'delete':
        return this.change(step.do, step.slot, step.which)
      case 'cut':
        return this.cut(this.at(step.slot))
      case 'reload':
        this.at(step.slot).tab.kill()
        this.open(this.slot(step.slot))
        return
      case 'close':
        await this.at(step.slot).chat.close()
        this.at(step.slot).tab.kill()
        this.open(this.slot(step.slot))
        return
      case 'offline':
      case 'online':
        return this.at(step.slot).tab.signal(step.do)
      case 'go deaf':
        this.at(step.slot).tab.isDeaf = true
        return
      case 'go mute':
        this.at(step.slot).tab.isMute = true
        return
      case 'cut the other user':
        return this.cut(this.other)
      case 'wait':
        return passes(step.ms)
      case 'server':
        this.isLossy = disturb(this.room, step.what) || this.isLossy
        return
    }
  }

  /** Returns how many messages there were. */
  async judge(): Promise<number> {
    const open = this.tabs.filter((tab) => tab !== undefined)
    for (const person of open) {
      person.tab.signal('online')
      if (person.tab.isDeaf || person.tab.isMute) this.cut(person)
    }
    for (const { chat } of open) {
      await until(
        chat,
        'everything is sent',
        ({ queued, connection }) => queued === 0 && connection.state === 'connected',
        LIMIT_MS,
      )
    }
    const history = await this.judgedHistory(Date.now() + LIMIT_MS)
    for (const { chat } of [...open, this.other]) await this.showsAll(chat, history)
    return this.wanted.length
  }

  end(): void {
    for (const { tab } of this.pages) tab.kill()
  }

  // --- inside ---

  private page(user: string, device: Device): Person {
    const person = arrives(this.server, user, this.room, { device, pageSize: 100, ackTimeoutMs: 3_000 })
    this.pages.push(person)
    return person
  }

  private slot(slot: Slot): number {
    return slot % this.count
  }

  private at(slot: Slot): Person {
    return this.tabs[this.slot(slot)] as Person
  }

  private open(slot: number): void {
    this.tabs[slot] = this.page(this.user, this.device)
  }

  private cut({ tab }: Person): void {
    tab.isDeaf = false
    tab.isMute = false
    tab.cut()
  }

  private say(slot: Slot): Sent {
    const content = `message ${this.wanted.length}`
    const sent = this.at(slot).chat.send(content)
    this.wanted.push({
      localId: sent.localId,
      slot: this.slot(slot) as Slot,
      content,
      edits: [],
      isDeleted: false,
    })
    return sent
  }

  private change(what: 'edit' | 'delete', slot: Slot, which: number): void {
    const { chat } = this.at(slot)
    const known = chat.getSnapshot().messages.filter(({ id, isDeleted }) => id !== undefined && !isDeleted)
    const message = known[which % Math.max(1, known.length)]
    const wanted = this.wanted.find(({ localId }) => localId === message?.localId)
    if (!message?.id || !wanted) return
    if (what === 'edit') {
      const content = `${wanted.content}, changed ${wanted.edits.length}`
      wanted.edits.push(content)
      chat.edit(message.id, content)
    } else {
      wanted.isDeleted = true
      chat.delete(message.id)
    }
  }

  /** The news of a loss may still be on its way: until then its messages are missing. */
  private async judgedHistory(until: number): Promise<Message[]> {
    const history = await wholeHistory(this.server, this.user, this.room)
    try {
      this.judgeHistory(history)
      return history
    } catch (error) {
      if (!this.isLossy || Date.now() > until) throw error
      return this.judgedHistory(until)
    }
  }

  private judgeHistory(history: readonly Message[]): void {
    const there = history.map(({ localId }) => localId)
    const lost = this.wanted.filter(({ localId }) => !there.includes(localId))
    const doubled = there.filter((localId, at) => there.indexOf(localId) !== at)
    const foreign = history.filter(({ localId }) => !this.wanted.some((one) => one.localId === localId))
    demand(lost.length === 0, 'lost', lost)
    demand(doubled.length === 0, 'doubled', doubled)
    demand(foreign.length === 0, 'not wanted', foreign)
    // What is sent before the news of a loss arrives stands before what is sent again because of it.
    for (const slot of this.isLossy ? [] : [0, 1]) {
      const said = this.wanted.filter((one) => one.slot === slot).map(({ localId }) => localId)
      const order = there.filter((localId) => localId !== undefined && said.includes(localId))
      demand(order.join() === said.join(), 'out of order', { said, order })
    }
    for (const message of history) this.judgeMessage(message)
  }

  private judgeMessage(message: Message): void {
    const wanted = this.wanted.find(({ localId }) => localId === message.localId) as Wanted
    demand(message.isDeleted === wanted.isDeleted || (this.isLossy && wanted.isDeleted), 'deleted wrongly', {
      message,
      wanted,
    })
    if (wanted.isDeleted) return
    // With one tab the last edit counts; two tabs may change the same message at the same time.
    const last = wanted.edits.slice(this.count === 1 ? -1 : 0)
    const first = wanted.edits.length === 0 || this.isLossy ? [wanted.content] : []
    const allowed = [...first, ...(this.isLossy ? wanted.edits : last)]
    demand(allowed.includes(message.content), 'changed wrongly', { message, wanted })
  }

  private async showsAll(chat: Person['chat'], history: readonly Message[]): Promise<void> {
    const fresh = JSON.stringify(facts(history))
    const isSame = (messages: readonly Message[]) => JSON.stringify(facts(messages)) === fresh
    await until(chat, `what a fresh fetch shows (${fresh})`, ({ messages }) => isSame(messages), LIMIT_MS)
  }
}

function demand(holds: boolean, what: string, evidence: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(evidence, undefined, 1)}`)
}
