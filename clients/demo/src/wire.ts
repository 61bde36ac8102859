/**
 * What the page and its phones tell each other by `postMessage`. Both are of this origin, and each looks
 * at who a message came from.
 */

/** A phone tells what goes through its socket, and how it is. */
export type FromPhone =
  | { readonly tell: 'frame'; readonly direction: Direction; readonly text: string; readonly at: number }
  | { readonly tell: 'unread'; readonly unread: number }

/** The page does something to a phone. */
export type ToPhone = { readonly tell: 'cut' } | { readonly tell: 'network'; readonly isOnline: boolean }

export type Direction = 'out' | 'in'

/** The fragment of the address of a phone that begins without a network. */
export const OFFLINE = '#offline'
