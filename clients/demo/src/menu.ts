/** What can be done with a message of one's own: a menu beside its button. */

import { button, element, type IconName, icon } from './dom.js'

export interface MenuItem {
  readonly icon: IconName
  readonly words: string
  run(): void
}

/** How far it stays from the edges. */
const EDGE_PX = 8

export class Menu {
  readonly node = element('div', { class: 'menu', role: 'menu', hidden: '' })
  private opener: HTMLElement | undefined

  constructor() {
    this.node.addEventListener('keydown', (event) => this.key(event))
    this.node.addEventListener('focusout', ({ relatedTarget }) => {
      if (!this.node.contains(relatedTarget as Node | null)) this.close()
    })
    document.addEventListener('pointerdown', ({ target }) => {
      const isInside = this.node.contains(target as Node) || this.opener?.contains(target as Node)
      if (!isInside) this.close()
    })
  }

  open(items: readonly MenuItem[], opener: HTMLElement): void {
    if (this.opener === opener) {
      this.close()
      return
    }
    this.opener = opener
    opener.setAttribute('aria-expanded', 'true')
    const buttons = items.map((item) =>
      button({ role: 'menuitem', tabindex: '-1' }, [icon(item.icon), item.words], () => {
        this.closeAndReturn()
        item.run()
      }),
    )
    this.node.replaceChildren(...buttons)
    this.node.hidden = false
    this.stand(opener)
    buttons[0]?.focus()
  }

  private close(): void {
    this.opener?.setAttribute('aria-expanded', 'false')
    this.opener = undefined
    this.node.hidden = true
  }

  private closeAndReturn(): void {
    const { opener } = this
    this.close()
    opener?.focus()
  }

  private stand(opener: HTMLElement): void {
    const { right, bottom, top } = opener.getBoundingClientRect()
    const { offsetWidth, offsetHeight, style } = this.node
    const isBelow = bottom + offsetHeight + EDGE_PX < innerHeight
    style.left = `${Math.max(EDGE_PX, right - offsetWidth)}px`
    style.top = `${isBelow ? bottom + 4 : Math.max(EDGE_PX, top - offsetHeight - 4)}px`
  }

  private key(event: KeyboardEvent): void {
    const items = [...this.node.children] as HTMLElement[]
    const at = items.indexOf(document.activeElement as HTMLElement)
    const go = (to: number) => items[(to + items.length) % items.length]?.focus()
    if (event.key === 'ArrowDown') go(at + 1)
    else if (event.key === 'ArrowUp') go(at - 1)
    else if (event.key === 'Home') go(0)
    else if (event.key === 'End') go(-1)
    else if (event.key === 'Escape' || event.key === 'Tab') this.closeAndReturn()
    else return
    event.preventDefault()
    event.stopPropagation()
  }
}
