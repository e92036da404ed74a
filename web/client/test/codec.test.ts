import { decode, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { type Codec, jsonCodec, type Message, msgpackCodec } from '../src/codec.js'
import { EnfiladeError } from '../src/errors.js'
import { toPoints } from '../src/points.js'
import { anyMessage } from './support/arbitrary.js'
import { stroke } from './support/arrange.js'

const CLIENT = '0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f'
const ROOM = '7d1e0000-0000-4000-8000-000000000001'

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

describe.each([jsonCodec, msgpackCodec])('$name', (codec: Codec) => {
  test('every message survives', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(codec.decode(codec.encode(message).body)).toEqual([message])
      }),
    )
  })

  test('several messages share a frame', () => {
    fc.assert(
      fc.property(fc.array(anyMessage, { minLength: 1, maxLength: 40 }), (messages) => {
        const encoded = messages.map((message) => codec.encode(message))
        const frame = codec.frame(encoded)
        expect(codec.decode(frame)).toEqual(messages)
        const size = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length
        expect(size).toBeLessThanOrEqual(encoded.reduce((sum, message) => sum + message.bytes + 1, 8))
      }),
      { numRuns: 50 },
    )
  })

  test('what cannot travel is not written', () => {
    const submit = (points: number[]): Message => ({
      type: 'submit',
      data: {
        room: ROOM,
        op_id: 1,
        op: { type: 'add_stroke', data: { element: 'a', color: '#000000', width: 1, points: Float32Array.from(points) } },
      },
    })
    expect(() => codec.encode(submit([Number.NaN, 1]))).toThrow(RangeError)
    expect(() => codec.encode({ type: 'leave', data: { room: 'no uuid' } })).toThrow(RangeError)
  })
})

describe('JSON', () => {
  test('messages read as on the protocol page', () => {
    const submit: Message = { id: 3, type: 'submit', data: { room: ROOM, op_id: 8, op: stroke('a2') } }
    expect(JSON.parse(jsonCodec.encode(submit).body as string)).toEqual({
      id: 3,
      type: 'submit',
      data: {
        room: ROOM,
        op_id: 8,
        op: { type: 'add_stroke', data: { element: 'a2', color: '#1a1a1a', width: 4, points: [[10, 10], [11.5, 12]] } },
      },
    })
  })

  test('unknown types are left out, unknown fields are kept, null is absent', () => {
    const frame = JSON.stringify([
      { type: 'weather', data: { sun: true } },
      { type: 'welcome', id: 1, data: { user: { id: CLIENT, name: 'Ada' }, extra: 1, node: null } },
    ])
    expect(jsonCodec.decode(frame)).toEqual([
      { id: 1, type: 'welcome', data: { user: { id: CLIENT, name: 'Ada' }, extra: 1 } },
    ])
  })

  test.each(['{', '3', '[[]]', '{"type":3}', '{"type":"ops","data":[]}', '{"type":"ops","data":{"ops":3}}'])(
    'the frame %s is malformed',
    (frame) => {
      expect(() => jsonCodec.decode(frame)).toThrow(expect.objectContaining({ code: 'malformed_frame' }) as Error)
    },
  )
})

describe('MessagePack', () => {
  test('ids are 16 bytes, points are coded', () => {
    const submit: Message = { id: 3, type: 'submit', data: { room: ROOM, op_id: 8, op: stroke('a2') } }
    expect(decode(msgpackCodec.encode(submit).body as Uint8Array)).toEqual([
      'submit',
      3,
      {
        room: bytes('7d1e0000 0000 4000 8000 000000000001'),
        op_id: 8,
        op: { type: 'add_stroke', data: { element: 'a2', color: '#1a1a1a', width: 4, points: bytes('50500c10') } },
      },
    ])
  })

  test('a message without an id has nil in its place', () => {
    expect(decode(msgpackCodec.encode({ type: 'pong', data: {} }).body as Uint8Array)).toEqual(['pong', null, {}])
  })

  test('further items are skipped, and points may be pairs', () => {
    const element = { element: 'a', type: 'stroke', author: bytes('00'.repeat(16)), z: 1, color: '#000000', width: 1 }
    const data = {
      room: bytes('7d1e0000 0000 4000 8000 000000000001'),
      position: { epoch: 1, seq: 1 },
      snapshot: { seq: 1, elements: [{ ...element, points: [[1, 2]], fill: null }] },
    }
    const [message] = msgpackCodec.decode(encode(['reset', null, data, 'later']))
    expect(message).toEqual({
      type: 'reset',
      data: {
        room: ROOM,
        position: { epoch: 1, seq: 1 },
        snapshot: {
          seq: 1,
          elements: [{ ...element, author: '00000000-0000-0000-0000-000000000000', points: toPoints([[1, 2]]) }],
        },
      },
    })
  })

  test('a nil body of a signal stays', () => {
    const signal: Message = { type: 'signal', data: { room: ROOM, key: 'cursor', body: null } }
    expect(msgpackCodec.decode(msgpackCodec.encode(signal).body)).toEqual([signal])
  })

  test('any bytes are messages or malformed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (frame) => {
        try {
          expect(Array.isArray(msgpackCodec.decode(frame))).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(EnfiladeError)
        }
      }),
    )
  })
})
