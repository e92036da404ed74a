import { describe, expect, test } from 'vitest'

import { EnfiladeError } from '../src/errors.js'
import { Entry, Outbox } from '../src/outbox.js'
import { rectangle } from './support/arrange.js'

const LINE = {}
const busy = new EnfiladeError('busy', 'later', 200)
const unknown = new EnfiladeError('unknown_element', 'no such element')

function outbox(count: number): { outbox: Outbox; entries: Entry[] } {
  const outbox = new Outbox()
  const entries = Array.from({ length: count }, (_, i) => {
    const entry = new Entry(rectangle(`e${i}`))
    entry.opId = i + 1
    entry.kept = true
    outbox.add(entry)
    return entry
  })
  return { outbox, entries }
}

/** Sends all that may be sent, and says which. */
function send(outbox: Outbox, now = 0, window = 256, line: object = LINE): number[] {
  const sent: number[] = []
  for (let entry = outbox.next(now, window); entry; entry = outbox.next(now, window)) {
    outbox.sentOn(line, entry)
    sent.push(entry.opId)
  }
  return sent
}

describe('an outbox', () => {
  test('sends in the order of op ids, within its window', () => {
    const { outbox: box } = outbox(5)
    expect(send(box, 0, 2)).toEqual([1, 2])
    expect(send(box, 0, 2)).toEqual([])
    box.accepted(1, 10)
    expect(send(box, 0, 2)).toEqual([3])
  })

  test('sends nothing before it is kept, nor what comes behind', () => {
    const { outbox: box, entries } = outbox(3)
    entries[1]!.kept = false
    expect(send(box)).toEqual([1])
    entries[1]!.kept = true
    expect(send(box)).toEqual([2, 3])
  })

  test('an accepted op resolves with its seq, once', async () => {
    const { outbox: box, entries } = outbox(1)
    send(box)
    expect(box.accepted(1, 42)).toBe(entries[0])
    expect(box.accepted(1, 43)).toBeUndefined()
    await expect(entries[0]!.result).resolves.toBe(42)
    expect(box.size).toBe(0)
  })

  test('an op that is invited again holds back everything behind it', () => {
    const { outbox: box } = outbox(4)
    send(box, 0, 2)
    expect(box.refused(1, busy, 1_000, 0)).toBeUndefined()
    expect(send(box, 1_100)).toEqual([])
    expect(box.heldUntil).toBe(1_200)
    expect(send(box, 1_200)).toEqual([1, 3, 4])
  })

  test('a refusal of an op that overtook one before it is tried again', () => {
    const { outbox: box, entries } = outbox(2)
    send(box)
    box.refused(1, busy, 0, 0)
    // The second builds on the first, which the server has not applied.
    expect(box.refused(2, unknown, 0, 0)).toBeUndefined()
    expect(send(box, 250)).toEqual([1, 2])
    expect(box.refused(2, unknown, 300, 0)).toBe(entries[1])
  })

  test('invitations that go on come more and more slowly', () => {
    const { outbox: box } = outbox(1)
    const waits = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(() => {
      send(box, box.heldUntil)
      const now = box.heldUntil
      box.refused(1, busy, now, 1)
      return box.heldUntil - now
    })
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000])
  })

  test('the server may fail over an op a few times', () => {
    const { outbox: box, entries } = outbox(1)
    const outcomes = Array.from({ length: 6 }, () => {
      send(box, box.heldUntil)
      return box.refused(1, new EnfiladeError('internal', 'oh'), box.heldUntil, 0)
    })
    expect(outcomes).toEqual([undefined, undefined, undefined, undefined, undefined, entries[0]])
  })

  test('a refused op rejects and is gone', async () => {
    const { outbox: box, entries } = outbox(2)
    send(box)
    expect(box.refused(1, unknown, 0, 0)).toBe(entries[0])
    await expect(entries[0]!.result).rejects.toMatchObject({ code: 'unknown_element' })
    expect(entries[0]!.refusal).toBe(unknown)
    expect(box.size).toBe(1)
  })

  test('what was in flight on a lost line is sent again, what is in flight elsewhere is not', () => {
    const { outbox: box, entries } = outbox(3)
    const other = {}
    send(box, 0, 2)
    box.sentOn(other, entries[2]!)
    box.lost(LINE)
    expect(send(box)).toEqual([1, 2])
    box.moveTo(other)
    expect(send(box, 0, 256, other)).toEqual([1, 2])
  })

  test('only what cannot have reached the server can be taken back', async () => {
    const { outbox: box, entries } = outbox(2)
    send(box, 0, 1)
    expect(box.withdraw(entries[0]!)).toBe(false)
    expect(box.withdraw(entries[1]!)).toBe(true)
    expect(box.withdraw(entries[1]!)).toBe(false)
    await expect(entries[1]!.result).rejects.toMatchObject({ code: 'withdrawn' })
  })
})
