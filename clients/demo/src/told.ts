/** What the server wrote into the document: who this phone belongs to. */

export interface Told {
  readonly user: string
  readonly name: string
  readonly peer: string
  readonly peer_name: string
  readonly conversation: string
  readonly token: string
  readonly token_life_ms: number
}

export function told(): Told {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="parlance-phone"]')
  return JSON.parse(meta?.content ?? '')
}
