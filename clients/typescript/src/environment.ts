/** The world around the client, as a browser has it. Every piece may be missing elsewhere. */

import type { ChannelLike, Environment, Signal } from './types.js'

/** What there is here, and what `given` says instead. */
export function environment(given: Partial<Environment> = {}): Environment {
  const { WebSocket, localStorage, navigator } = pieces()
  return {
    WebSocket: WebSocket as unknown as Environment['WebSocket'],
    now: Date.now,
    random: Math.random,
    after,
    watch,
    isOnline: () => navigator?.onLine !== false,
    ...(localStorage ? { localStorage } : {}),
    ...(navigator?.locks ? { locks: navigator.locks } : {}),
    ...(globalThis.BroadcastChannel ? { channel } : {}),
    ...given,
  }
}

function pieces(): Partial<Pick<typeof globalThis, 'WebSocket' | 'localStorage' | 'navigator'>> {
  const { WebSocket, navigator } = globalThis
  try {
    // Reading it throws where cookies are forbidden.
    return { WebSocket, navigator, localStorage: globalThis.localStorage }
  } catch {
    return { WebSocket, navigator }
  }
}

function after(ms: number, callback: () => void): () => void {
  // Longer ones would fire at once.
  const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1))
  return () => clearTimeout(timer)
}

function channel(name: string): ChannelLike {
  return new BroadcastChannel(name) as unknown as ChannelLike
}

/** Network and page. A page that may come back from the browser's cache has to give up its sockets. */
function watch(listener: (signal: Signal) => void): () => void {
  const { document } = globalThis
  const undo: (() => void)[] = []
  const on = (target: EventTarget | undefined, event: string, signal: () => Signal) => {
    const heard = () => listener(signal())
    target?.addEventListener?.(event, heard)
    undo.push(() => target?.removeEventListener?.(event, heard))
  }
  on(globalThis, 'online', () => 'online')
  on(globalThis, 'offline', () => 'offline')
  on(globalThis, 'pagehide', () => 'frozen')
  on(globalThis, 'pageshow', () => 'shown')
  // Not every browser tells of a page that it wakes by the same event.
  on(document, 'resume', () => 'shown')
  on(document, 'visibilitychange', () => (document.visibilityState === 'hidden' ? 'hidden' : 'shown'))
  return () => {
    for (const one of undo) one()
  }
}
