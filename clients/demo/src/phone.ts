/** A phone: one user's client, and what they see of the conversation. Runs in a document of its own. */

import { ChatClient, ChatError, type Message, type Sent } from '@parlance/client'
import { Composer } from './composer.js'
import { element } from './dom.js'
import { Head } from './head.js'
import { Log } from './log.js'
import { Menu } from './menu.js'
import { Network } from './network.js'
import { canChange } from './row.js'
import { told } from './told.js'
import { type FromPhone, OFFLINE, type ToPhone } from './wire.js'

const me = told()
const tokenEnds = Date.now() + me.token_life_ms
const network = new Network(location.hash !== OFFLINE)
const names = new Map([
  [me.user, me.name],
  [me.peer, me.peer_name],
])
const nameOf = (userId: string) => names.get(userId) ?? userId

const client = new ChatClient({
  url: location.origin,
  userId: me.user,
  getToken: () => {
    if (Date.now() < tokenEnds) return me.token
    throw new ChatError('unauthorized', 'the token of this page has ended: load it again')
  },
  onFrame: (direction, text) => tell({ tell: 'frame', direction, text, at: Date.now() }),
  environment: network.environment(),
})
const conversation = client.conversation(me.conversation)

const menu = new Menu()
const head = new Head({ id: me.peer, name: me.peer_name }, nameOf)
const composer = new Composer(
  {
    send: (content) => attempt(() => conversation.send(content)),
    edit: (id, content) => attempt(() => conversation.edit(id, content)),
    typing: (isTyping) => conversation.typing(isTyping),
    lastOwn: () => conversation.getSnapshot().messages.findLast(canChange),
  },
  me.peer_name,
)
const log = new Log({
  peer: me.peer,
  nameOf,
  openMenu,
  loadOlder: () => void conversation.fetchMore().catch(complain),
  loadGap: (gap) => void conversation.fetchMore({ gap }).catch(complain),
  seen: (id) => conversation.markRead(id),
  retry: ({ localId }) => void (localId && attempt(() => conversation.retry(localId))),
  discard: ({ localId }) => localId && conversation.discard(localId),
})

function openMenu(message: Message, opener: HTMLElement): void {
  const { id } = message
  if (id === undefined) return
  menu.open(
    [
      { icon: 'edit', words: 'Edit', run: () => composer.edit(message) },
      { icon: 'bin', words: 'Delete', run: () => void attempt(() => conversation.delete(id)) },
    ],
    opener,
  )
}

/** Does what may be refused on the spot, and gives the reason. */
function attempt(act: () => Sent): string | undefined {
  try {
    act().accepted.catch(() => {})
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function complain(error: unknown): void {
  if (error instanceof ChatError && error.code !== 'closed') composer.say(error.message)
}

function tell(message: FromPhone): void {
  if (parent !== window) parent.postMessage(message, location.origin)
}

// --- drawn at most once a frame; not while nobody sees it ---

let isDrawing = false
function draw(): void {
  if (isDrawing) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    const snapshot = conversation.getSnapshot()
    head.update(snapshot)
    log.update(snapshot)
  })
}

conversation.subscribe(draw)
conversation.on('error', (error) => {
  if (!error.retryable) composer.say(error.message)
})
conversation.on('unread', (unread) => tell({ tell: 'unread', unread }))
addEventListener('message', ({ data, origin, source }: MessageEvent<ToPhone>) => {
  if (origin !== location.origin || source !== parent) return
  if (data.tell === 'cut') network.cut()
  else network.set(data.isOnline)
})

document.title = `${me.name}’s phone`
document.body.append(element('main', { class: 'phone' }, head.node, log.node, composer.node, menu.node))
draw()
conversation.connect()
