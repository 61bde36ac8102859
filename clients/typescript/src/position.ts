/** Places in a conversation: `"12"` is message 12, `"12-3"` the third edit or deletion after it. */

/** Negative if `a` is before `b`, 0 if they are the same place. */
export function compare(a: string, b: string): number {
  return idOf(a) - idOf(b) || changeOf(a) - changeOf(b)
}

/** The later one. */
export function later(a: string | undefined, b: string): string {
  return a === undefined || compare(a, b) < 0 ? b : a
}

/** The number of the message at or before a place. Below 2^53, so a number holds it. */
export function idOf(position: string): number {
  return Number.parseInt(position, 10)
}

function changeOf(position: string): number {
  const dash = position.indexOf('-')
  return dash < 0 ? 0 : Number(position.slice(dash + 1))
}

/** Whether the store has a place, when it has everything up to message `upToId`. */
export function isStored(position: string, upToId: string): boolean {
  // What changed after message N is stored for sure only when N + 1 is.
  const distance = idOf(position) - idOf(upToId)
  return position.includes('-') ? distance < 0 : distance <= 0
}
