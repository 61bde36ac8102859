/**
 * The messages of a conversation, from live events, replays and pages of history alike. Data only.
 *
 * Everything may come twice, and pages may come later than what happened after them: what counts is the
 * position of a message's last change. So the same set of facts gives the same timeline in any order.
 */

import type { ChatMessage, HistoryRow } from './frames.js'
import { compare, idOf } from './position.js'

/** A message as the server has it. Never changed. */
export interface Row {
  readonly id: number
  readonly localId?: string
  readonly senderId: string
  readonly content: string
  readonly sentAt: string
  readonly isEdited: boolean
  readonly isDeleted: boolean
  readonly editedBy?: string
  readonly status: Status
  /** Of its last change. */
  readonly position: string
}

export type Status = 'sent' | 'delivered' | 'read'

/** Missing messages, both ends included. */
export interface Hole {
  readonly from: number
  readonly to: number
}

interface EditOf {
  readonly content: string
  readonly editedBy: string
  readonly position: string
}

/** Edits and deletions of messages that are not here (yet): so many of the newest are kept. */
const EARLY = 500
/** Rows that are read again after a loss; older ones are left to paging back. */
const READ_AGAIN = 500
/** Below all positions: of a row that has to be read again. */
const UNSURE = '0'
const STATUSES: readonly Status[] = ['sent', 'delivered', 'read']

export class Timeline {
  holes: readonly Hole[] = []
  /** Whether there is something below the oldest row. `undefined`: nothing was fetched yet. */
  hasMore: boolean | undefined
  private list: Row[] = []
  private readonly byId = new Map<number, Row>()
  /** Of messages that are not here: a page that was read before may still bring them as they were. */
  private readonly early = new Map<number, { edit?: EditOf; deletedAt?: string }>()

  rows(): readonly Row[] {
    return this.list
  }

  get(id: number): Row | undefined {
    return this.byId.get(id)
  }

  /** The id of the newest message, 0 if there is none. */
  get newest(): number {
    return this.list.at(-1)?.id ?? 0
  }

  get oldest(): number {
    return this.list[0]?.id ?? 0
  }

  /** A live or replayed message: with its present content, whose edits are told after it. */
  message(message: ChatMessage, position: string): void {
    const { id, local_id, sender_id, content, timestamp, status } = message
    this.take({
      id: idOf(id),
      ...(typeof local_id === 'string' ? { localId: local_id } : {}),
      senderId: sender_id,
      content,
      sentAt: timestamp,
      isEdited: false,
      isDeleted: false,
      status: asStatus(status),
      position,
    })
  }

  edited(id: number, edit: EditOf): void {
    const row = this.byId.get(id)
    if (row) this.put(withEdit(row, edit))
    else {
      const known = this.early.get(id)
      if (!known?.edit || compare(known.edit.position, edit.position) < 0)
        this.remember(id, { ...known, edit })
    }
  }

  deleted(id: number, position: string): void {
    const row = this.byId.get(id)
    if (row) this.put(withDeletion(row, position))
    else this.remember(id, { ...this.early.get(id), deletedAt: position })
  }

  /** Rows of history. */
  page(rows: readonly HistoryRow[]): void {
    for (const row of rows) {
      this.take({
        id: idOf(row.id),
        ...(typeof row.local_id === 'string' ? { localId: row.local_id } : {}),
        senderId: row.sender_id,
        content: row.content,
        sentAt: row.sent_at,
        isEdited: row.is_edited,
        isDeleted: row.is_deleted,
        ...(typeof row.edited_by === 'string' ? { editedBy: row.edited_by } : {}),
        status: asStatus(row.status),
        position: row.position ?? row.id,
      })
    }
  }

  /** Messages that a replay leaves out. */
  miss(from: number, to: number): void {
    // With nothing below it, it is what there is besides: older messages.
    if (this.list.length === 0 || this.oldest >= from) this.hasMore = true
    else this.addHole(from, to)
  }

  /** Everything of a hole from `from` on upwards is here. */
  filled(hole: Hole, from: number): void {
    const rest = from > hole.from ? [{ from: hole.from, to: from - 1 }] : []
    this.holes = this.holes.flatMap((one) => (one.from === hole.from && one.to === hole.to ? rest : [one]))
  }

  /**
   * The log lost everything above a position. Returns the rows that are gone. Those of the others that
   * something lost had changed have to be read again.
   */
  rewind(lostAfter: string): Row[] {
    const limit = idOf(lostAfter)
    const gone = this.list.filter((row) => row.id > limit)
    this.list = this.list.filter((row) => row.id <= limit)
    for (const row of gone) this.byId.delete(row.id)
    this.early.clear()
    this.holes = this.holes
      .filter((hole) => hole.from <= limit)
      .map((hole) => ({ from: hole.from, to: Math.min(hole.to, limit) }))
    for (const row of this.list) if (compare(row.position, lostAfter) > 0) this.unsure(row)
    return gone
  }

  /** Any row may have been changed without a word. */
  doubt(): void {
    const dropped = this.list.slice(0, -READ_AGAIN)
    this.list = this.list.slice(-READ_AGAIN)
    for (const row of dropped) this.byId.delete(row.id)
    if (dropped.length > 0) this.hasMore = true
    const { oldest } = this
    this.holes = this.holes.filter((hole) => hole.from > oldest)
    for (const row of this.list) this.unsure(row)
  }

  /** The newest row that has to be read again. */
  get doubtful(): number | undefined {
    return this.list.findLast((row) => row.position === UNSURE)?.id
  }

  /** All that there is from one id to another was read: what is still in doubt there is no more. */
  settled(from: number, to: number): void {
    for (const { id, position } of this.list)
      if (position === UNSURE && id >= from && id <= to) this.remove(id)
  }

  /** A message that is no more. */
  remove(id: number): void {
    this.list = this.list.filter((row) => row.id !== id)
    this.byId.delete(id)
  }

  /** Forgets all of it. */
  clear(): void {
    this.list = []
    this.byId.clear()
    this.early.clear()
    this.holes = []
    this.hasMore = undefined
  }

  // --- inside ---

  private addHole(from: number, to: number): void {
    const isMissing = !this.list.some((row) => row.id >= from && row.id <= to)
    const holes = isMissing ? [{ from, to }] : this.holesBetween(from, to)
    this.holes = [...this.holes.filter((hole) => hole.from > to || hole.to < from), ...holes].sort(
      (a, b) => a.from - b.from,
    )
  }

  private take(row: Row): void {
    const known = this.byId.get(row.id)
    if (!known) {
      const early = this.early.get(row.id)
      this.early.delete(row.id)
      let taken = row
      if (early?.edit) taken = withEdit(taken, early.edit)
      if (early?.deletedAt !== undefined) taken = withDeletion(taken, early.deletedAt)
      this.insert(taken)
      return
    }
    // A deletion is the end, unless the log lost it.
    const isOpen = !known.isDeleted || known.position === UNSURE
    const newer = isOpen && compare(row.position, known.position) > 0 ? row : known
    const status = STATUSES.indexOf(row.status) > STATUSES.indexOf(known.status) ? row.status : known.status
    const localId = known.localId ?? row.localId
    this.put({ ...newer, status, ...(localId === undefined ? {} : { localId }) })
  }

  private insert(row: Row): void {
    this.byId.set(row.id, row)
    this.list.splice(this.place(row.id), 0, row)
  }

  private put(row: Row): void {
    const known = this.byId.get(row.id)
    if (known && !isSame(known, row)) this.replace(row)
  }

  /** As if nothing were known of it: what is read again counts, whatever its position. */
  private unsure(row: Row): void {
    this.replace({ ...row, position: UNSURE })
  }

  private replace(row: Row): void {
    this.byId.set(row.id, row)
    this.list[this.place(row.id)] = row
  }

  /** Where a row with this id stands or would stand. */
  private place(id: number): number {
    let low = 0
    let high = this.list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.list[middle] as Row).id < id) low = middle + 1
      else high = middle
    }
    return low
  }

  private remember(id: number, change: { edit?: EditOf; deletedAt?: string }): void {
    this.early.delete(id)
    this.early.set(id, change)
    if (this.early.size > EARLY) this.early.delete(this.early.keys().next().value as number)
  }

  /** What is missing between two ids, when some of it is here. */
  private holesBetween(from: number, to: number): Hole[] {
    const known = this.list.filter((row) => row.id >= from && row.id <= to).map((row) => row.id)
    const newest = Math.max(...known)
    return newest < to ? [{ from: newest + 1, to }] : []
  }
}

function asStatus(status: string): Status {
  return status === 'read' || status === 'delivered' ? status : 'sent'
}

function withEdit(row: Row, { content, editedBy, position }: EditOf): Row {
  const order = compare(position, row.position)
  // The edit before a deletion may come after it.
  if (row.isDeleted) return order < 0 && !row.isEdited ? { ...row, isEdited: true, editedBy } : row
  if (order <= 0) return row
  return { ...row, content, isEdited: true, editedBy, position }
}

function withDeletion(row: Row, position: string): Row {
  if (row.isDeleted) return row
  return { ...row, content: '', isDeleted: true, position }
}

function isSame(a: Row, b: Row): boolean {
  const keys = Object.keys({ ...a, ...b }) as (keyof Row)[]
  return keys.every((key) => a[key] === b[key])
}
