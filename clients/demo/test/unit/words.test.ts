import { expect, test } from 'vitest'
import { kindOf } from '../../src/strip.js'
import { dayOf, dayWords, short, timeOf } from '../../src/words.js'

test('a frame is named by its type or its action, whatever else it may be', () => {
  expect(kindOf('{"type":"live"}')).toBe('live')
  expect(kindOf('{"action":"typing"}')).toBe('typing')
  expect(kindOf('{"type":{"toString":1}}')).toBe('unknown')
  expect(kindOf('null')).toBe('unknown')
  expect(kindOf('{')).toBe('no JSON')
})

test('days are told as people say them, also across a year', () => {
  const now = new Date(2026, 0, 1, 12)
  const words = (year: number, month: number, day: number) =>
    dayWords(dayOf(new Date(year, month, day, 23, 59).toISOString()), now)
  expect(words(2026, 0, 1)).toBe('Today')
  expect(words(2025, 11, 31)).toBe('Yesterday')
  expect(words(2025, 11, 30)).toContain('2025')
})

test('a time that is none is left out', () => {
  expect(timeOf('yesterday')).toBe('')
  expect(dayOf('')).toBe('')
})

test('a label holds the beginning of a text, and no half characters', () => {
  expect(short('😀'.repeat(60))).toBe(`${'😀'.repeat(40)}…`)
  expect(short('  short ')).toBe('short')
})
