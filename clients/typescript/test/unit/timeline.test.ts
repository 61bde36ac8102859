import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChatMessage, HistoryRow } from '../../src/frames.js'
import { idOf } from '../../src/position.js'
import { type Row, Timeline } from '../../src/timeline.js'

const AT = '2026-01-01T00:00:00.000Z'

function message(id: string, content = `m${id}`): ChatMessage {
  return { id, sender_id: 'bob', content, timestamp: AT, status: 'sent' }
}

function row(id: string, more: Partial<HistoryRow> = {}): HistoryRow {
  const rest = { sender_id: 'bob', content: `m${id}`, sent_at: AT, is_edited: false, is_deleted: false }
  return { id, ...rest, status: 'sent', position: id, ...more }
}

function timeline(...ids: number[]): Timeline {
  const made = new Timeline()
  made.page(ids.map((id) => row(String(id))))
  return made
}

function ids(made: Timeline): number[] {
  return made.rows().map(({ id }) => id)
}

describe('rows', () => {
  test('stand in the order of their ids, once', () => {
    const made = timeline(5, 3, 9)
    made.message(message('4'), '4')
    made.message(message('9'), '9')
    made.page([row('3'), row('1')])
    expect(ids(made)).toEqual([1, 3, 4, 5, 9])
    expect([made.newest, made.oldest]).toEqual([9, 1])
  })

  test('are the same objects as long as nothing changes', () => {
    const made = timeline(1, 2)
    const before = [...made.rows()]
    made.page([row('1'), row('2')])
    made.message(message('1'), '1')
    made.edited(1, { content: 'old news', editedBy: 'bob', position: '0' })
    expect([...made.rows()].every((one, at) => one === before[at])).toBe(true)
  })

  test('take the state that came furthest', () => {
    const made = timeline(1)
    made.page([row('1', { status: 'read' })])
    made.page([row('1', { status: 'delivered' })])
    expect(made.get(1)?.status).toBe('read')
  })
})

describe('holes', () => {
  test('are kept between what is known, and closed from above', () => {
    const made = timeline(1, 2)
    made.miss(3, 50)
    made.page([row('51')])
    expect(made.holes).toEqual([{ from: 3, to: 50 }])
    made.filled({ from: 3, to: 50 }, 31)
    expect(made.holes).toEqual([{ from: 3, to: 30 }])
    made.filled({ from: 3, to: 30 }, 0)
    expect(made.holes).toEqual([])
  })

  test('below everything are just more', () => {
    const made = new Timeline()
    made.miss(1, 50)
    expect([made.holes, made.hasMore]).toEqual([[], true])
  })

  test('end where the log does', () => {
    const made = timeline(1, 2)
    made.miss(3, 50)
    made.miss(60, 70)
    made.rewind('40')
    expect(made.holes).toEqual([{ from: 3, to: 40 }])
  })
})

describe('after a loss', () => {
  test('newer rows are gone, and what was changed later is in doubt until it is read again', () => {
    const made = timeline(1, 2, 3)
    made.edited(1, { content: 'lost change', editedBy: 'bob', position: '3-1' })
    made.deleted(2, '3-2')
    expect(made.rewind('2').map(({ id }) => id)).toEqual([3])
    expect(made.doubtful).toBe(2)
    made.page([row('2'), row('1')])
    expect(made.doubtful).toBeUndefined()
    expect(made.rows()).toMatchObject([
      { content: 'm1', isEdited: false },
      { content: 'm2', isDeleted: false },
    ])
  })

  test('what is still in doubt after it was read is no more', () => {
    const made = timeline(1, 2, 3)
    made.doubt()
    made.page([row('3'), row('1')])
    made.settled(1, 3)
    expect(ids(made)).toEqual([1, 3])
  })

  test('of what is in doubt only the newest 500 are kept', () => {
    const made = timeline(...Array.from({ length: 510 }, (_, at) => at + 1))
    made.hasMore = false
    made.doubt()
    expect([made.oldest, made.hasMore, made.get(10)]).toEqual([11, true, undefined])
    const few = timeline(...Array.from({ length: 500 }, (_, at) => at + 1))
    few.hasMore = false
    few.doubt()
    expect(few.hasMore).toBe(false)
  })
})

/** What a server has, and what it told of it. */
type Fact =
  | { readonly kind: 'message'; readonly message: ChatMessage; readonly position: string }
  | { readonly kind: 'edit'; readonly id: number; readonly content: string; readonly position: string }
  | { readonly kind: 'delete'; readonly id: number; readonly position: string }

class Log {
  readonly facts: Fact[] = []
  private last = 0
  private changes = 0

  /** Does something: numbers choose what. */
  grow(what: number, which: number): void {
    const open = this.rows(this.facts.length).filter((one) => !one.is_deleted)
    const target = open[which % Math.max(1, open.length)]
    if (what < 5 || !target) {
      this.last += 1
      this.changes = 0
      this.facts.push({ kind: 'message', message: message(String(this.last)), position: String(this.last) })
      return
    }
    this.changes += 1
    const [id, position] = [idOf(target.id), `${this.last}-${this.changes}`]
    if (what < 8) this.facts.push({ kind: 'edit', id, content: `changed ${this.facts.length}`, position })
    else this.facts.push({ kind: 'delete', id, position })
  }

  /** All rows, as they were after so many facts. Oldest first. */
  rows(after: number): HistoryRow[] {
    const rows = new Map<number, HistoryRow>()
    for (const fact of this.facts.slice(0, after)) {
      const known = fact.kind === 'message' ? undefined : rows.get(fact.id)
      if (fact.kind === 'message') rows.set(idOf(fact.message.id), row(fact.message.id))
      else if (known && fact.kind === 'edit') {
        const { content, position } = fact
        rows.set(fact.id, { ...known, content, position, is_edited: true, edited_by: 'bob' })
      } else if (known)
        rows.set(idOf(known.id), { ...known, content: '', position: fact.position, is_deleted: true })
    }
    return [...rows.values()]
  }
}

function tell(made: Timeline, fact: Fact, present: readonly HistoryRow[]): void {
  switch (fact.kind) {
    case 'message': {
      const content = present.find(({ id }) => id === fact.message.id)?.content ?? fact.message.content
      return made.message({ ...fact.message, content }, fact.position)
    }
    case 'edit':
      return made.edited(fact.id, { content: fact.content, editedBy: 'bob', position: fact.position })
    case 'delete':
      return made.deleted(fact.id, fact.position)
  }
}

/** What is shown of rows. The places of changes may differ: a deletion does not remember the edit before it. */
function shown(rows: readonly Row[]): object[] {
  return rows.map(({ id, content, isEdited, isDeleted, editedBy }) => ({
    id,
    content,
    isEdited,
    isDeleted,
    editedBy,
  }))
}

function fetched(log: Log): object[] {
  const made = new Timeline()
  made.page(log.rows(log.facts.length))
  return shown(made.rows())
}

const growth = fc.array(fc.tuple(fc.nat(9), fc.nat(50)), { minLength: 1, maxLength: 40, size: 'max' })

function grown(steps: readonly (readonly [number, number])[]): Log {
  const log = new Log()
  for (const [what, which] of steps) log.grow(what, which)
  return log
}

describe('apply(events, old) is fetch(new)', () => {
  test('for any page of any moment, and the events after it, replayed with present contents', () => {
    const property = fc.property(growth, fc.nat(40), (steps, moment) => {
      const log = grown(steps)
      const from = Math.min(moment, log.facts.length)
      const made = new Timeline()
      made.page(log.rows(from))
      const present = log.rows(log.facts.length)
      for (const fact of log.facts.slice(from)) tell(made, fact, present)
      expect(shown(made.rows())).toEqual(fetched(log))
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('when two sockets tell the same events, each in order, and pages come late', () => {
    const turns = fc.array(fc.nat(2), { minLength: 200, maxLength: 200 })
    const property = fc.property(growth, fc.nat(40), turns, fc.nat(40), (steps, moment, order, late) => {
      const log = grown(steps)
      const all = log.facts.length
      const from = Math.min(moment, all)
      const made = new Timeline()
      made.page(log.rows(from))
      const sockets = [
        { at: from, present: log.rows(from) },
        { at: Math.max(0, from - 3), present: log.rows(all) },
      ]
      for (const turn of order) {
        const socket = sockets[turn]
        // The third is a page that was read at some moment, and comes now.
        if (!socket) made.page(log.rows(Math.min(late, all)).filter(({ id }) => idOf(id) <= made.newest))
        else {
          const fact = log.facts[socket.at]
          // Live events have the contents of their moment, replayed ones the present content.
          if (fact) tell(made, fact, turn === 0 ? log.rows(socket.at + 1) : socket.present)
          socket.at += 1
        }
      }
      for (const socket of sockets) {
        for (const fact of log.facts.slice(socket.at)) tell(made, fact, log.rows(all))
      }
      expect(shown(made.rows())).toEqual(fetched(log))
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('in any order at all, with repeats', () => {
    const property = fc.property(growth, fc.array(fc.nat(1_000), { maxLength: 60 }), (steps, picks) => {
      const log = grown(steps)
      const { facts } = log
      const shuffled = facts
        .map((fact, at) => ({ fact, key: picks[at % Math.max(1, picks.length)] ?? at }))
        .sort((a, b) => a.key - b.key)
        .map(({ fact }) => fact)
      const made = new Timeline()
      for (const fact of [...shuffled, ...facts.filter((_, at) => at % 3 === 0)]) tell(made, fact, [])
      expect(shown(made.rows())).toEqual(fetched(log))
    })
    fc.assert(property, { numRuns: 500 })
  })
})
