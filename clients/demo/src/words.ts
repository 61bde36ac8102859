/** What is said, and when: everything here is text. */

import type { Connection, MessageState } from '@parlance/client'

export const STATES: Readonly<Record<Connection['state'], string>> = {
  idle: 'Not connected',
  connecting: 'Connecting',
  connected: 'Connected',
  waiting: 'Connection lost',
  offline: 'Offline',
  closed: 'Closed',
}

export const TICKS: Readonly<Record<MessageState, string>> = {
  queued: 'Waiting to be sent',
  sending: 'Being sent',
  sent: 'Sent',
  delivered: 'Delivered',
  read: 'Read',
  failed: 'Not sent',
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
const YEAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' })

export function timeOf(sentAt: string): string {
  const date = new Date(sentAt)
  return Number.isNaN(date.getTime()) ? '' : TIME.format(date)
}

/** Names a day, the same for all of its moments. */
export function dayOf(sentAt: string): string {
  const date = new Date(sentAt)
  return Number.isNaN(date.getTime()) ? '' : date.toDateString()
}

export function dayWords(day: string, now: Date): string {
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1)
  if (day === now.toDateString()) return 'Today'
  if (day === yesterday.toDateString()) return 'Yesterday'
  const date = new Date(day)
  return (date.getFullYear() === now.getFullYear() ? DAY : YEAR).format(date)
}

export function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}

/** What waits for a connection. */
export function waiting(queued: number): string {
  if (queued === 0) return 'You can go on writing.'
  return `${count(queued, 'message waits', 'messages wait')} on this device.`
}

/** The part of a text that fits into a label. */
export function short(text: string): string {
  const characters = [...text.trim().slice(0, 200)]
  return characters.length > 40 ? `${characters.slice(0, 40).join('')}…` : characters.join('')
}
