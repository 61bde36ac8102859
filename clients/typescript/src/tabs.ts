/**
 * The tabs of one user in one conversation. Each has a socket and shows everything; one of them sends
 * what all of them have in the outbox. When it goes, the next one does.
 *
 * Where a browser has no locks, every tab sends: the server knows repeats by their names.
 */

import type { Change } from './outbox.js'
import type { ChannelLike, Environment } from './types.js'

export class Tabs {
  isLeader = false
  private readonly channel: ChannelLike | undefined
  private readonly leaving = new AbortController()
  private release: (() => void) | undefined

  /** `onLead` is called once, when this tab is the one that sends; `onChange` for what others do. */
  constructor(
    scope: string,
    { locks, channel }: Pick<Environment, 'locks' | 'channel'>,
    hear: { onLead: () => void; onChange: (change: Change) => void },
  ) {
    const name = `parlance:${scope}`
    const lead = () => {
      if (this.leaving.signal.aborted) return
      this.isLeader = true
      hear.onLead()
    }
    if (!locks) {
      queueMicrotask(lead)
      return
    }
    this.channel = channel?.(name)
    if (this.channel) this.channel.onmessage = ({ data }) => hear.onChange(data as Change)
    const held = () => {
      lead()
      return new Promise<void>((release) => {
        this.release = release
      })
    }
    // Rejects when this tab leaves before its turn came.
    locks.request(name, { signal: this.leaving.signal }, held).catch(() => {})
  }

  tell(change: Change): void {
    if (!this.leaving.signal.aborted) this.channel?.postMessage(change)
  }

  end(): void {
    this.isLeader = false
    this.leaving.abort()
    this.release?.()
    this.channel?.close()
  }
}
