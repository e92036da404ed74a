import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { Backoff, verdict } from '../src/backoff.js'
import { jsonCodec, msgpackCodec } from '../src/codec.js'
import { intoFrames } from '../src/connection.js'
import { expiryOf, refreshAfterMs, subjectOf } from '../src/credentials.js'
import { Pacer } from '../src/pacer.js'
import { SignalLane } from '../src/signal-lane.js'
import { DEFAULT_LIMITS } from '../src/types.js'
import { fakeToken } from './support/fake-server.js'

describe('backoff', () => {
  test('lies between nothing and a bound that doubles, up to 30 s', () => {
    const backoff = new Backoff(() => 1)
    const bounds = Array.from({ length: 9 }, () => backoff.next())
    expect(bounds).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
    backoff.reset()
    expect(backoff.next()).toBe(500)
    expect(new Backoff(() => 0).next()).toBe(0)
  })

  test('the range of a close code is the verdict, known or not', () => {
    const verdicts = [1000, 1006, 4000, 4099, 4100, 4199, 4200, 4299, 4300, 4399, 4400, 4500, 4699, 4700].map(verdict)
    expect(verdicts).toEqual([
      'jitter',
      'jitter',
      'jitter',
      'jitter',
      'now',
      'now',
      'refresh',
      'refresh',
      'scratch',
      'scratch',
      'jitter',
      'never',
      'never',
      'jitter',
    ])
  })
})

describe('a pacer', () => {
  test('never lets more through than the server, with its burst of four seconds, would', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { maxLength: 400 }), (steps) => {
        const pacer = new Pacer(100, 0)
        let now = 0
        let allowance = 400
        for (const step of steps) {
          now += step
          allowance = Math.min(400, allowance + step / 10)
          while (pacer.take(now)) allowance -= 1
          expect(allowance).toBeGreaterThanOrEqual(0)
        }
      }),
    )
  })

  test('says how long to wait, and that suffices', () => {
    const pacer = new Pacer(100, 0)
    while (pacer.take(0));
    const wait = pacer.waitMs(0)
    expect(wait).toBeGreaterThan(0)
    expect(pacer.take(wait - 1)).toBe(false)
    expect(pacer.take(wait)).toBe(true)
  })

  test('a clock that is set back does not stop it', () => {
    const pacer = new Pacer(100, 10_000)
    while (pacer.take(10_000));
    expect(pacer.take(0)).toBe(false)
    expect(pacer.take(100)).toBe(true)
  })
})

describe('frames', () => {
  test.each([jsonCodec, msgpackCodec])('$name messages are split within the limits, in order', (codec) => {
    const size = fc.integer({ min: 1, max: 700 })
    fc.assert(
      fc.property(fc.array(size, { maxLength: 60 }), (sizes) => {
        const limits = { ...DEFAULT_LIMITS, frame_bytes: 900, messages_per_frame: 5 }
        const turn = sizes.map((length) => codec.encode({ type: 'refresh', data: { token: 'x'.repeat(length) } }))
        const frames = intoFrames(turn, limits)
        expect(frames.flat()).toEqual(turn)
        for (const messages of frames) {
          expect(messages.length).toBeLessThanOrEqual(5)
          expect(Buffer.byteLength(codec.frame(messages))).toBeLessThanOrEqual(900)
        }
      }),
      { numRuns: 50 },
    )
  })
})

describe('a lane of signals', () => {
  test('the latest of a key wins and takes its place at the end', () => {
    const lane = new SignalLane()
    lane.put('cursor', 1)
    lane.put('stroke.0', 2)
    lane.put('cursor', 3)
    expect([lane.take(), lane.take(), lane.take()]).toEqual([['stroke.0', 2], ['cursor', 3], undefined])
  })

  test('is bounded: the oldest keys are lost', () => {
    const lane = new SignalLane()
    for (let i = 0; i < 100; i++) lane.put(`stroke.${i}`, i)
    expect(lane.size).toBe(64)
    expect(lane.take()).toEqual(['stroke.36', 36])
  })
})

describe('tokens', () => {
  test('tell when they run out and whose they are', () => {
    const token = fakeToken('5f0c', 1_767_225_600_000)
    expect(expiryOf(token)).toBe(1_767_225_600_000)
    expect(subjectOf(token)).toBe('5f0c')
    for (const odd of ['', 'a.b.c', 'opaque', 'a.bnVsbA.c']) expect(expiryOf(odd)).toBeUndefined()
  })

  test('are refreshed after about four fifths of their life', () => {
    expect(refreshAfterMs(600_000, 0, () => 0)).toBe(450_000)
    expect(refreshAfterMs(600_000, 0, () => 1)).toBe(510_000)
    expect(refreshAfterMs(0, 600_000, () => 0)).toBe(1_000)
  })
})
