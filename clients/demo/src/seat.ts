/** One side of the page: a phone in its frame, what can be done to it, and its frames. */

import { button, element, type IconName, icon } from './dom.js'
import { Strip } from './strip.js'
import { type FromPhone, OFFLINE, type ToPhone } from './wire.js'

export class Seat {
  readonly node: HTMLElement
  private readonly screen = element('div', { class: 'screen' })
  private readonly strip: Strip
  private readonly cut: HTMLButtonElement
  private readonly network: HTMLButtonElement
  private readonly tab: HTMLButtonElement
  private phone: HTMLIFrameElement | undefined
  private isOnline = true

  constructor(
    readonly id: string,
    readonly name: string,
    private readonly onUnread: (unread: number) => void,
  ) {
    this.strip = new Strip(name)
    this.cut = button({}, [], () => this.tell({ tell: 'cut' }))
    this.network = button({}, [], () => this.switchNetwork())
    this.tab = button({}, [], () => this.switchTab())
    label(this.cut, 'bolt', 'Cut the connection')
    const controls = element('div', { class: 'controls', role: 'group', 'aria-label': `${name}’s phone` })
    controls.append(this.cut, this.network, this.tab)
    const title = element('h2', {}, `${name}’s phone`)
    const device = element('div', { class: 'device' }, title, element('div', { class: 'case' }, this.screen), controls)
    this.node = element('section', { class: `seat ${id}`, id: `seat-${id}` }, device, this.strip.node)
    addEventListener('message', (event: MessageEvent<FromPhone>) => this.hear(event))
    this.openTab()
  }

  private openTab(): void {
    this.phone = element('iframe', {
      src: `/demo/${this.id}${this.isOnline ? '' : OFFLINE}`,
      title: `${this.name}’s phone`,
    })
    this.screen.replaceChildren(this.phone)
    this.showControls()
  }

  private closeTab(): void {
    this.phone = undefined
    const words = `The tab is closed. What ${this.name} wrote and could not send is kept on the device.`
    this.screen.replaceChildren(element('p', { class: 'closed' }, icon('off'), words))
    this.onUnread(0)
    this.showControls()
  }

  private switchTab(): void {
    if (this.phone) this.closeTab()
    else this.openTab()
  }

  private switchNetwork(): void {
    this.isOnline = !this.isOnline
    this.tell({ tell: 'network', isOnline: this.isOnline })
    this.showControls()
  }

  private showControls(): void {
    this.cut.disabled = !this.phone || !this.isOnline
    if (this.isOnline) label(this.network, 'cut', 'Go offline')
    else label(this.network, 'live', 'Back online')
    if (this.phone) label(this.tab, 'close', 'Kill the tab')
    else label(this.tab, 'retry', 'Come back')
    this.screen.classList.toggle('offline', !this.isOnline)
  }

  private tell(message: ToPhone): void {
    this.phone?.contentWindow?.postMessage(message, location.origin)
  }

  private hear({ data, origin, source }: MessageEvent<FromPhone>): void {
    if (origin !== location.origin || source !== this.phone?.contentWindow) return
    if (data.tell === 'frame') this.strip.add(data)
    else this.onUnread(data.unread)
  }
}

function label(of: HTMLButtonElement, name: IconName, words: string): void {
  of.replaceChildren(icon(name), words)
}
