import { describe, expect, test } from 'vitest'
import { plain } from '../../src/errors.js'
import { Outbox } from '../../src/outbox.js'
import { compare, isStored, later } from '../../src/position.js'
import type { OutboxAction, OutboxItem } from '../../src/types.js'

const NEVER = Number.POSITIVE_INFINITY

function item(
  localId: string,
  order: number,
  action: OutboxAction = { kind: 'send', content: localId },
): OutboxItem {
  return { localId, order, action, createdAt: '2026-01-01T00:00:00.000Z' }
}

/** An outbox in epoch 0 with these sends, all written. */
function outbox(...names: string[]): Outbox {
  const made = new Outbox()
  made.heardEpoch(0, true)
  names.forEach((name, at) => {
    made.add(item(name, at + 1))
    made.kept(name, true)
  })
  made.changes.splice(0)
  return made
}

function names(items: readonly OutboxItem[]): string[] {
  return items.map(({ localId }) => localId)
}

describe('places', () => {
  test('are compared as numbers', () => {
    const inOrder = ['0', '1', '2', '2-1', '2-2', '2-10', '10', '100', '10000000000', '10000000001-3']
    for (const [at, one] of inOrder.entries()) {
      for (const [other, two] of inOrder.entries())
        expect(Math.sign(compare(one, two))).toBe(Math.sign(at - other))
    }
    expect([later(undefined, '0'), later('9', '10'), later('10-1', '10')]).toEqual(['0', '10', '10-1'])
  })

  test('of messages are stored with their number, of changes only with the next', () => {
    expect([isStored('5', '5'), isStored('6', '5'), isStored('5-1', '5'), isStored('5-1', '6')]).toEqual([
      true,
      false,
      false,
      true,
    ])
  })
})

describe('sending', () => {
  test('goes one at a time, in order', () => {
    const box = outbox('a', 'b')
    expect(box.next(0)).toEqual({ item: box.find('a'), isRetry: false })
    expect(box.next(0)).toBeUndefined()
    expect(box.wake()).toBe(NEVER)
    expect(box.isUnderWay('a')).toBe(true)
    expect(box.acked('a', '1')).toBe(true)
    expect(box.acked('a', '1')).toBe(false)
    expect(box.next(0)?.item.localId).toBe('b')
  })

  test('is a retry once it may have reached the server, or came out of the store', () => {
    const box = outbox('a')
    box.next(0)
    box.disconnected()
    expect(box.next(0)).toMatchObject({ isRetry: true })
    const loaded = new Outbox()
    loaded.load([item('z', 9), item('y', 8)])
    expect(loaded.next(0)).toMatchObject({ item: { localId: 'y' }, isRetry: true })
    expect(loaded.nextOrder(0)).toBe(10)
  })

  test('waits for the store, without waking anybody for that', () => {
    const box = outbox()
    box.add(item('a', 1))
    expect([box.next(0), box.wake()]).toEqual([undefined, NEVER])
    box.kept('a', false)
    expect(box.wake()).toBe(0)
    expect(box.next(0)?.item.localId).toBe('a')
  })

  test('keeps the pace that the server wants until nothing is left', () => {
    const box = outbox('a', 'b', 'c')
    box.next(0)
    box.tooSoon(20, 20)
    box.next(20)
    box.tooSoon(50, 50)
    expect([box.next(49), box.wake()]).toEqual([undefined, 50])
    expect(box.next(50)?.item.localId).toBe('a')
    box.acked('a', '1')
    expect([box.next(99), box.wake()]).toEqual([undefined, 100])
    expect(box.next(100)?.item.localId).toBe('b')
    box.acked('b', '2')
    box.next(150)
    box.acked('c', '3')
    expect(box.next(151)).toBeUndefined()
    box.add(item('d', 4))
    box.kept('d', true)
    box.next(200)
    box.acked('d', '4')
    box.add(item('e', 5))
    box.kept('e', true)
    expect(box.next(201)?.item.localId).toBe('e')
  })
})

describe('refusals', () => {
  test('for good leave a failed message, which holds nobody up, and take away a change', () => {
    const box = outbox('a', 'b')
    box.next(0)
    const error = plain('invalid_content', 'no')
    box.refused('a', error)
    expect(box.find('a')?.failed).toBe(error)
    expect(box.next(0)?.item.localId).toBe('b')
    box.acked('b', '1')
    box.add(item('e', 9, { kind: 'edit', id: '7', content: 'x' }))
    box.kept('e', true)
    box.changes.splice(0)
    box.next(0)
    box.refused('e', error)
    expect(box.changes).toEqual([{ gone: 'e', error }])
  })

  test('for now are counted until one is not refused', () => {
    const box = outbox('a', 'b')
    const error = plain('unavailable', 'no', true)
    box.next(0)
    expect(box.refusedForNow('a', error, 10, 3)).toBe(false)
    box.next(10)
    expect(box.refusedForNow('a', error, 20, 3)).toBe(false)
    box.next(20)
    box.acked('a', '1')
    for (const at of [20, 30]) {
      box.next(at)
      expect(box.refusedForNow('b', error, at + 10, 3)).toBe(false)
    }
    box.next(40)
    expect(box.refusedForNow('b', error, 50, 3)).toBe(true)
    expect(box.find('b')).toMatchObject({ failed: error })
  })

  test('are taken back by retry, behind all others and under the same name', () => {
    const box = outbox('a', 'b')
    box.next(0)
    box.refused('a', plain('unavailable', '', true))
    box.retry('a', 5)
    box.retry('b', 5)
    expect(names(box.all())).toEqual(['b', 'a'])
    box.next(0)
    box.acked('b', '1')
    expect(box.next(0)).toMatchObject({ item: { localId: 'a' }, isRetry: true })
  })

  test('are overtaken by the event: it was there after all', () => {
    const box = outbox('a')
    box.next(0)
    box.refused('a', plain('internal', '', true))
    expect(box.acked('a', '1')).toBe(true)
    expect(box.find('a')?.failed).toBeUndefined()
  })
})

describe('what is acknowledged', () => {
  const both = () => {
    const box = outbox('a', 'b')
    for (const [at, name] of ['a', 'b'].entries()) {
      box.next(0)
      box.acked(name, String(at + 1))
    }
    box.changes.splice(0)
    return box
  }

  test('goes when it is stored in its epoch', () => {
    const box = both()
    box.stored(1, '2')
    expect(names(box.all())).toEqual(['a', 'b'])
    box.stored(0, '1')
    expect(names(box.all())).toEqual(['b'])
    expect(box.changes).toEqual([{ gone: 'a' }])
  })

  test('goes at once where nothing is ever stored', () => {
    const box = both()
    box.heardEpoch(0, false)
    expect(box.all()).toEqual([])
    box.add(item('c', 3))
    box.kept('c', true)
    box.next(0)
    box.acked('c', '3')
    expect(box.all()).toEqual([])
  })

  test('of an epoch that is over is sent again; the number that covers it does not count', () => {
    const box = both()
    box.resync(1)
    expect(names(box.unacked())).toEqual(['a', 'b'])
    box.stored(1, '2')
    expect(names(box.all())).toEqual(['a', 'b'])
    expect(box.next(0)).toMatchObject({ item: { localId: 'a' }, isRetry: true })
    // It survived, under its old id.
    box.acked('a', '1')
    box.stored(1, '1')
    expect(names(box.all())).toEqual(['b'])
  })

  test('is sent again after a hello of another epoch, and not after one of the same', () => {
    const box = both()
    box.heardEpoch(0, true)
    expect(box.unacked()).toEqual([])
    box.heardEpoch(1, true)
    expect(names(box.unacked())).toEqual(['a', 'b'])
  })

  test('is sent again to a server that tells nothing of epochs', () => {
    const box = both()
    box.noEpochs()
    expect(names(box.unacked())).toEqual(['a', 'b'])
    box.next(0)
    box.acked('a', '1')
    expect(names(box.all())).toEqual(['b'])
  })

  test('and lost takes the changes of it along to its new id', () => {
    const box = both()
    box.add(item('edit', 3, { kind: 'edit', id: '2', content: 'x' }))
    box.add(item('other', 4, { kind: 'delete', id: '1' }))
    for (const name of ['edit', 'other']) box.kept(name, true)
    box.next(0)
    box.acked('edit', '2-1')
    box.resync(1)
    for (const [name, id] of [
      ['a', '1'],
      ['b', '10000000001'],
    ] as const) {
      box.next(0)
      box.acked(name, id)
    }
    expect(box.find('edit')?.action).toEqual({ kind: 'edit', id: '10000000001', content: 'x' })
    expect(box.find('other')?.action).toEqual({ kind: 'delete', id: '1' })
    expect(box.next(0)?.item.localId).toBe('edit')
  })

  test('as a deletion by somebody else is done too', () => {
    const box = outbox()
    box.add(item('d', 1, { kind: 'delete', id: '7' }))
    expect([box.targetDeleted('8', '8-1'), box.targetDeleted('7', '8-1')]).toEqual([undefined, 'd'])
    expect(box.unacked()).toEqual([])
  })
})

describe('other tabs', () => {
  test('add and change, but not what is under way here', () => {
    const box = outbox('b')
    box.merge(item('a', 0))
    expect(names(box.all())).toEqual(['a', 'b'])
    expect(box.next(0)).toMatchObject({ item: { localId: 'a' }, isRetry: false })
    box.merge({ ...item('a', 0), failed: plain('timeout', '') })
    expect(box.find('a')?.failed).toBeUndefined()
  })

  test('take away what is under way here: what follows is not held up', () => {
    const box = outbox('a', 'b')
    box.next(0)
    box.drop('a')
    expect(box.next(0)?.item.localId).toBe('b')
  })

  test('wrote the store: it is what there is, but for what it was not told yet', () => {
    const box = outbox('gone', 'stays')
    box.add(item('new', 9))
    box.load([item('stays', 2), item('theirs', 3)])
    expect(names(box.all())).toEqual(['stays', 'theirs', 'new'])
    expect([box.wasSent('stays'), box.wasSent('theirs')]).toEqual([false, true])
  })
})
