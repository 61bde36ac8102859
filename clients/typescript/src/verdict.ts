/** What is done when a connection ended, by its close code. */

export type Verdict =
  | { readonly do: 'stop' }
  /** With a new token: the old one is not accepted any more. */
  | { readonly do: 'token' }
  | { readonly do: 'now' }
  | { readonly do: 'after'; readonly ms: number }
  | { readonly do: 'back off' }

const STOP: ReadonlySet<number> = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4004])

export function verdict(code: number, reason: string): Verdict {
  if (STOP.has(code) || (code >= 4400 && code < 4500)) return { do: 'stop' }
  if (code === 4003) return { do: 'token' }
  if (code >= 4100 && code < 4200) return { do: 'now' }
  if (code === 1012 || code === 1013) {
    const ms = retryAfter(reason)
    if (ms !== undefined) return { do: 'after', ms }
  }
  return { do: 'back off' }
}

/** `{"retry_after_ms":1500}`, at most a minute of it. */
function retryAfter(reason: string): number | undefined {
  try {
    const ms: unknown = JSON.parse(reason).retry_after_ms
    return typeof ms === 'number' && ms >= 0 ? Math.min(ms, 60_000) : undefined
  } catch {
    return undefined
  }
}

/**
 * Full jitter: a thousand clients that lost the same server come back spread out. `failures`: in a row,
 * before this one.
 */
export function backoff(failures: number, minMs: number, maxMs: number, random: () => number): number {
  return minMs + random() * Math.min(maxMs, minMs * 2 ** failures)
}
