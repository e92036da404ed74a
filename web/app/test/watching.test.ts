/** Those who only watch. */

import { describe, expect, test } from 'vitest'
import { hadBetterWatch, wordsOf } from '../src/state/watching'

describe('watching', () => {
  test('a viewer in a crowd had better watch', () => {
    const crowd = { role: 'viewer', count: 150, audience: 60 } as const
    expect(hadBetterWatch(crowd)).toBe(true)
    expect(hadBetterWatch({ ...crowd, role: 'editor' })).toBe(false)
    expect(hadBetterWatch({ ...crowd, role: null })).toBe(false)
    expect(hadBetterWatch({ ...crowd, audience: 50 })).toBe(false)
  })

  test.each([
    [1, false, '1 person is watching', '1', '1'],
    [2, false, '2 people are watching', '2', '2'],
    [12_345, false, '12,345 people are watching', '12,345', '12.3K'],
    [1, true, 'Only you are watching', '1', '1'],
    [2, true, 'You and 1 other are watching', '2', '2'],
    [1_205, true, 'You and 1,204 others are watching', '1,205', '1.2K'],
  ])('%d watching, oneself among them: %s', (audience, oneself, label, number, short) => {
    expect(wordsOf(audience, oneself)).toEqual({ label, number, short })
  })
})
