/**
 * The tabs of one user in one conversation. Each has a socket and shows everything; one of them sends
 * what all of them have in the outbox. When it goes, the next one does.
 *
 * Where a browser has no locks, every tab sends: the server knows repeats by their names.
 */

import type { Change } from './outbox.js'
import type { ChannelLike, Environment } from './types.js'

/** What one tab tells the others. */
export interface Told {
  readonly change: Change
  /** Whether it was the one that sends when it made the change. */
  readonly isLeaders: boolean
}

export class Tabs {
  isLeader = false
  private readonly name: string
  private readonly locks: Environment['locks']
  private channel: ChannelLike | undefined
  private readonly onLead: (isLeader: boolean) => void
  /** Aborted when this tab gives its turn up, or no longer waits for it. */
  private turn: AbortController | undefined

  /** `onLead` is called when this tab becomes the one that sends, or is it no more; `onTold` for what others do. */
  constructor(
    scope: string,
    { locks, channel }: Pick<Environment, 'locks' | 'channel'>,
    hear: { onLead: (isLeader: boolean) => void; onTold: (told: Told) => void },
  ) {
    this.name = `parlance:${scope}`
    this.locks = locks
    this.onLead = hear.onLead
    if (!locks) return
    this.channel = channel?.(this.name)
    if (this.channel) this.channel.onmessage = ({ data }) => hear.onTold(data as Told)
  }

  /** Whether this tab is able to send. One that is not must not keep others from it. */
  want(isAble: boolean): void {
    if (isAble === (this.turn !== undefined)) return
    if (isAble) return this.compete()
    const { isLeader } = this
    this.turn?.abort()
    this.turn = undefined
    this.isLeader = false
    if (isLeader) this.onLead(false)
  }

  tell(told: Told): void {
    this.channel?.postMessage(told)
  }

  end(): void {
    this.want(false)
    this.channel?.close()
    this.channel = undefined
  }

  private compete(): void {
    const turn = new AbortController()
    this.turn = turn
    const lead = () => {
      if (turn.signal.aborted) return
      this.isLeader = true
      this.onLead(true)
    }
    if (!this.locks) {
      queueMicrotask(lead)
      return
    }
    const held = () => {
      lead()
      // Until the turn is given up, which may have been before it came.
      return new Promise<void>((release) => {
        if (turn.signal.aborted) release()
        turn.signal.addEventListener('abort', () => release())
      })
    }
    // Rejects when the turn is given up before it came.
    this.locks.request(this.name, { signal: turn.signal }, held).catch(() => {})
  }
}
