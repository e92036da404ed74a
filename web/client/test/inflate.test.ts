/** Unpacking: all of it or a clear error, and never more than it may be. */

import { deflateRawSync, deflateSync } from 'node:zlib'
import { expect, test } from 'vitest'

import { INFLATES, inflate } from '../src/inflate.js'

const plain = new TextEncoder().encode('line and arch '.repeat(5_000))
const packed = new Uint8Array(deflateRawSync(plain))

test('what was packed comes out', async () => {
  expect(INFLATES).toBe(true)
  expect(await inflate(packed)).toEqual(plain)
  expect(await inflate(new Uint8Array(deflateRawSync(new Uint8Array())))).toEqual(new Uint8Array())
})

test.each([
  ['cut off', packed.slice(0, packed.length / 2)],
  ['of another form', new Uint8Array(deflateSync(plain))],
  ['nonsense', Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
])('a stream that is %s is an error', async (_, broken) => {
  await expect(inflate(broken)).rejects.toThrow()
})

test('no more comes out than is allowed', async () => {
  expect((await inflate(packed, plain.length)).length).toBe(plain.length)
  await expect(inflate(packed, plain.length - 1)).rejects.toThrow(RangeError)
})
