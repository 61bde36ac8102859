/** Who types, who is here, and who has read how far. Data only. */

import { idOf } from './position.js'
import type { Typist } from './types.js'

/** The server says itself when somebody stopped typing. This is for when it could not. */
const TYPING_MS = 10_000

export class People {
  /** Up to where others have read and received, by user. */
  readonly readBy: Map<string, number> = new Map()
  onlineCount: number | undefined
  /** Up to where any other user has received and read. */
  delivered = 0
  read = 0
  private readonly typists = new Map<string, { username: string; until: number }>()
  private here = new Set<string>()
  private readonly me: string

  constructor(me: string) {
    this.me = me
  }

  typing(userId: string, username: string, isTyping: boolean, now: number): void {
    if (userId === this.me) return
    this.typists.delete(userId)
    if (isTyping) this.typists.set(userId, { username, until: now + TYPING_MS })
  }

  /** What somebody says ends their typing. */
  spoke(userId: string): void {
    this.typists.delete(userId)
  }

  typingNow(): Typist[] {
    return [...this.typists].map(([userId, { username }]) => ({ userId, username }))
  }

  online(): string[] {
    return [...this.here]
  }

  status(userId: string, isOnline: boolean): void {
    if (userId === this.me) return
    if (isOnline) this.here.add(userId)
    else {
      this.here.delete(userId)
      this.typists.delete(userId)
    }
  }

  crowd(count: number, sample: readonly string[]): void {
    this.onlineCount = count
    this.here = new Set(sample.filter((userId) => userId !== this.me))
  }

  /** Cursors only grow. Returns whether this one did. */
  reads(userId: string, upToId: number): boolean {
    if (userId === this.me || (this.readBy.get(userId) ?? 0) >= upToId) return false
    this.readBy.set(userId, upToId)
    this.read = Math.max(this.read, upToId)
    return true
  }

  receives(userId: string, upToId: string): void {
    if (userId !== this.me) this.delivered = Math.max(this.delivered, idOf(upToId))
  }

  /** The connection is gone: nobody tells any more. */
  forget(): void {
    this.typists.clear()
    this.here.clear()
    this.onlineCount = undefined
  }

  /** Messages above this are no more, and with them who had them. */
  rewind(limit: number): void {
    this.delivered = Math.min(this.delivered, limit)
    this.read = Math.min(this.read, limit)
    for (const [userId, upTo] of this.readBy) this.readBy.set(userId, Math.min(upTo, limit))
  }

  due(now: number): boolean {
    const before = this.typists.size
    for (const [userId, { until }] of this.typists) if (until <= now) this.typists.delete(userId)
    return this.typists.size < before
  }

  wake(): number {
    return Math.min(...[...this.typists.values()].map(({ until }) => until), Number.POSITIVE_INFINITY)
  }
}
