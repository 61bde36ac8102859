/** The page with both phones. On a narrow screen one is shown at a time. */

import { button, element, icon } from './dom.js'
import { Seat } from './seat.js'

const PEOPLE = [
  { id: 'alice', name: 'Alice' },
  { id: 'bob', name: 'Bob' },
] as const

/** What to try was read. */
const SEEN = 'parlance-demo:hint'

const tabs = element('div', { class: 'tabs', role: 'group', 'aria-label': 'Which phone is shown' })
const seats = PEOPLE.map(({ id, name }) => {
  const badge = element('span', { class: 'badge', hidden: '' })
  const tab = button({ 'aria-controls': `seat-${id}`, 'aria-pressed': 'false' }, [name, ' ', badge], () => show(id))
  tabs.append(tab)
  const seat = new Seat(id, name, (unread) => {
    badge.hidden = unread === 0
    badge.textContent = `${unread} new`
  })
  return { id, seat, tab }
})

function show(id: string): void {
  for (const one of seats) {
    const isShown = one.id === id
    one.tab.setAttribute('aria-pressed', String(isShown))
    one.seat.node.classList.toggle('behind', !isShown)
  }
}

function hint(): HTMLElement {
  const words = element(
    'p',
    {},
    element('b', {}, 'Try this: '),
    'take Alice offline, write three messages, kill her tab, and come back online. Bob gets each of them once, in order.',
  )
  const made = element('aside', { class: 'hint', 'aria-label': 'What to try' }, words)
  made.append(
    button({ class: 'plain', 'aria-label': 'Close the hint' }, [icon('close')], () => {
      localStorage.setItem(SEEN, 'read')
      made.remove()
    }),
  )
  return made
}

const main = document.getElementById('main') ?? document.body
if (localStorage.getItem(SEEN) === null) main.append(hint())
main.append(tabs, element('div', { class: 'seats' }, ...seats.map(({ seat }) => seat.node)))
show(PEOPLE[0].id)
