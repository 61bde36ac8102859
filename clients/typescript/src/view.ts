/**
 * The messages as they are shown: what the server has, with what of this user's is under way laid over it.
 * Looks at the pieces of a session, and changes none.
 */

import type { Outbox } from './outbox.js'
import type { People } from './people.js'
import type { Row, Timeline } from './timeline.js'
import type { Message, MessageState, OutboxItem } from './types.js'

export class View {
  private readonly me: string
  private readonly timeline: Timeline
  private readonly people: People
  private readonly outbox: Outbox
  private readonly shown = new WeakMap<object, { state: string; message: Message }>()

  constructor(me: string, timeline: Timeline, people: People, outbox: Outbox) {
    this.me = me
    this.timeline = timeline
    this.people = people
    this.outbox = outbox
  }

  /** Oldest first; those that have no acknowledgement come last. */
  messages(): Message[] {
    const changes = new Map<string, OutboxItem>()
    const known = new Set<string>()
    for (const item of this.outbox.unacked()) {
      if (item.action.kind !== 'send') changes.set(item.action.id, item)
    }
    const rows = this.timeline.rows().map((row) => {
      if (row.localId !== undefined && row.senderId === this.me) known.add(row.localId)
      const change = changes.size > 0 ? changes.get(String(row.id)) : undefined
      const state = this.stateOf(row)
      return this.made(row, `${state} ${change?.localId}`, () => this.ofRow(row, state, change))
    })
    const unsent = this.outbox
      .unacked()
      .filter((item) => item.action.kind === 'send' && !known.has(item.localId))
    return [
      ...rows,
      ...unsent.map((item) => this.made(item, this.stateOfItem(item), (state) => this.ofItem(item, state))),
    ]
  }

  /** What is shown of something is the same object as long as it is the same. */
  private made<S extends string>(of: object, state: S, make: (state: S) => Message): Message {
    const before = this.shown.get(of)
    if (before?.state === state) return before.message
    const message = make(state)
    this.shown.set(of, { state, message })
    return message
  }

  private ofRow(row: Row, state: MessageState, change: OutboxItem | undefined): Message {
    const isOwn = row.senderId === this.me
    const action = change?.action
    return {
      key: isOwn && row.localId !== undefined ? row.localId : String(row.id),
      id: String(row.id),
      ...(row.localId !== undefined && isOwn ? { localId: row.localId } : {}),
      senderId: row.senderId,
      isOwn,
      content: action?.kind === 'edit' ? action.content : action?.kind === 'delete' ? '' : row.content,
      sentAt: row.sentAt,
      isEdited: row.isEdited || action?.kind === 'edit',
      isDeleted: row.isDeleted || action?.kind === 'delete',
      ...(row.editedBy === undefined ? {} : { editedBy: row.editedBy }),
      ...(isOwn ? { state } : {}),
      ...(action && action.kind !== 'send' ? { pending: action.kind } : {}),
    }
  }

  private stateOf(row: Row): 'sent' | 'delivered' | 'read' {
    if (row.status === 'read' || row.id <= this.people.read) return 'read'
    if (row.status === 'delivered' || row.id <= this.people.delivered) return 'delivered'
    return 'sent'
  }

  private stateOfItem({ failed, localId }: OutboxItem): MessageState {
    if (failed) return 'failed'
    return this.outbox.isUnderWay(localId) ? 'sending' : 'queued'
  }

  private ofItem(item: OutboxItem, state: MessageState): Message {
    const { localId, createdAt, failed } = item
    const content = item.action.kind === 'send' ? item.action.content : ''
    return {
      key: localId,
      localId,
      senderId: this.me,
      isOwn: true,
      content,
      sentAt: createdAt,
      isEdited: false,
      isDeleted: false,
      state,
      ...(failed ? { error: failed } : {}),
    }
  }
}
