/** Where one writes, and where an own message is edited. */

import type { Message } from '@parlance/client'
import { button, element, icon } from './dom.js'
import { short } from './words.js'

export interface ComposerActions {
  /** Each says why not, or nothing. */
  send(content: string): string | undefined
  edit(id: string, content: string): string | undefined
  typing(isTyping: boolean): void
  /** The own message that the arrow up edits. */
  lastOwn(): Message | undefined
}

const MOST_LINES_PX = 132

export class Composer {
  readonly node: HTMLElement
  private readonly field: HTMLTextAreaElement
  private readonly editing = element('div', { class: 'editing', hidden: '' })
  private readonly notice = element('p', { class: 'notice', role: 'alert' })
  private edited: { readonly id: string; readonly draft: string } | undefined

  constructor(
    private readonly actions: ComposerActions,
    peerName: string,
  ) {
    this.field = element('textarea', {
      rows: '1',
      placeholder: 'Message',
      'aria-label': `Message to ${peerName}`,
      'aria-describedby': 'keys',
      dir: 'auto',
      enterkeyhint: 'send',
    })
    const keys = element('span', { id: 'keys', class: 'unseen' })
    keys.textContent = 'Enter sends, Shift and Enter breaks the line, the arrow up edits what you wrote last'
    const send = element('button', { class: 'send', 'aria-label': 'Send' }, icon('send'))
    const form = element('form', {}, this.field, keys, send)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.submit()
    })
    this.field.addEventListener('input', () => this.changed())
    this.field.addEventListener('keydown', (event) => this.key(event))
    this.node = element('div', { class: 'composer' }, this.notice, this.editing, form)
  }

  /** Edits a message instead of writing a new one. */
  edit(message: Message): void {
    if (message.id === undefined) return
    const draft = this.edited ? this.edited.draft : this.field.value
    this.edited = { id: message.id, draft }
    const stop = button({ class: 'plain', 'aria-label': 'Stop editing' }, [icon('close')], () => this.stopEditing())
    const what = element('span', { class: 'what' }, 'Editing ', element('bdi', {}, `“${short(message.content)}”`))
    this.editing.replaceChildren(icon('edit'), what, stop)
    this.editing.hidden = false
    this.fill(message.content)
    this.field.focus()
    this.field.setSelectionRange(message.content.length, message.content.length)
  }

  /** Somebody has to be told something. */
  say(words: string): void {
    this.notice.textContent = words
  }

  private submit(): void {
    const content = this.field.value
    if (content.trim() === '') return
    const refused = this.edited ? this.actions.edit(this.edited.id, content) : this.actions.send(content)
    this.say(refused ?? '')
    if (refused !== undefined) return
    if (this.edited) this.stopEditing()
    else this.fill('')
    this.field.focus()
  }

  private stopEditing(): void {
    const draft = this.edited?.draft ?? ''
    this.edited = undefined
    this.editing.hidden = true
    this.fill(draft)
    this.field.focus()
  }

  private changed(): void {
    this.say('')
    this.grow()
    if (!this.edited) this.actions.typing(this.field.value !== '')
  }

  private key(event: KeyboardEvent): void {
    if (event.isComposing) return
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault()
      this.submit()
    } else if (event.key === 'Escape' && this.edited) {
      event.preventDefault()
      this.stopEditing()
    } else if (event.key === 'ArrowUp' && this.field.value === '' && !this.edited) {
      const message = this.actions.lastOwn()
      if (!message) return
      event.preventDefault()
      this.edit(message)
    }
  }

  private fill(text: string): void {
    this.field.value = text
    this.grow()
  }

  private grow(): void {
    this.field.style.height = 'auto'
    const { scrollHeight, offsetHeight, clientHeight } = this.field
    this.field.style.height = `${Math.min(scrollHeight + offsetHeight - clientHeight, MOST_LINES_PX)}px`
  }
}
