/** What is equal to what was there before stays the same object, so that renderers can compare by identity. */

import type { Snapshot } from './types.js'

/** `now`, or `before` if nothing changed, with as much of `before` in it as is equal. */
export function reusing(before: Snapshot, now: Snapshot): Snapshot {
  const keys = Object.keys(now) as (keyof Snapshot)[]
  const merged = Object.fromEntries(
    keys.map((key) => [key, isEqual(before[key], now[key]) ? before[key] : now[key]]),
  )
  const isSame =
    keys.length === Object.keys(before).length && keys.every((key) => merged[key] === before[key])
  return isSame ? before : (merged as unknown as Snapshot)
}

function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
  }
  const [left, right] = [Object.entries(a), Object.entries(b)]
  return (
    left.length === right.length &&
    left.every(([key, value]) => isEqual(value, (b as Record<string, unknown>)[key]))
  )
}
