/** Messages to frames and back, in JSON and in MessagePack. */

import { decode, encode } from '@msgpack/msgpack'

import { EnfiladeError } from './errors.js'
import { isUuid, uuidToBytes, uuidToText } from './ids.js'
import { decodePoints, decodePressure, encodePoints, encodePressure, toPairs, toPoints } from './points.js'
import type { ClientMessage, Points, Pressure, ServerMessage, Snapshot, Uuid } from './types.js'
import { type Form, fromWire, HTTP_SCHEMAS, isKnown, schemaOf, toWire } from './wire.js'

export type CodecName = 'msgpack' | 'json'

/** One message, written. */
export interface Encoded {
  readonly body: string | Uint8Array
  /** What it takes of a frame. */
  readonly bytes: number
}

export type Message = ClientMessage | ServerMessage

export interface Codec {
  readonly name: CodecName
  /** What asks for this codec in the WebSocket handshake. */
  readonly subprotocol: string
  /** Throws a RangeError when a value cannot travel (a coordinate out of range, an id that is no UUID). */
  encode(message: Message): Encoded
  /** One frame of several messages. */
  frame(messages: readonly Encoded[]): string | Uint8Array
  /** The messages of a frame; those of unknown types are left out. Throws `malformed_frame`. */
  decode(frame: string | ArrayBuffer | Uint8Array): Message[]
}

/** What a frame needs beside its messages, at most, and what one more message adds. */
export const FRAME_OVERHEAD = 8
export const SEPARATOR_BYTES = 1

const text = new TextEncoder()

export const jsonForm: Form = {
  uuid: checkedUuid,
  points: (points) => toPairs(points as Points),
  pressure: (pressure) => Array.from(pressure as Pressure),
}

export const fromJsonForm: Form = {
  uuid: readUuid,
  points: (value) => toPoints(value as [number, number][]),
  pressure: (value) => Uint8Array.from(value as number[]),
}

export const jsonCodec: Codec = {
  name: 'json',
  subprotocol: 'enfilade.v1.json',

  encode({ id, type, data }) {
    const body = JSON.stringify({ id, type, data: toWire(data, schemaOf(type), checkedJson) })
    return { body, bytes: text.encode(body).length }
  },

  frame(messages) {
    if (messages.length === 1) return messages[0]!.body
    return `[${messages.map(({ body }) => body).join(',')}]`
  },

  decode(frame) {
    return understood(() => {
      const parsed: unknown = JSON.parse(typeof frame === 'string' ? frame : new TextDecoder().decode(frame))
      return (Array.isArray(parsed) ? parsed : [parsed]).flatMap((message: Record<string, unknown>) =>
        open(message.type, message.id, message.data, fromJsonForm),
      )
    })
  },
}

/** JSON has no NaN: what is not a coordinate must not travel as null. */
const checkedJson: Form = {
  ...jsonForm,
  points(points) {
    encodePoints(points as Points)
    return jsonForm.points(points)
  },
}

const msgpackForm: Form = {
  uuid: (value) => uuidToBytes(value as Uuid),
  points: (points) => encodePoints(points as Points),
  pressure: (pressure) => encodePressure(pressure as Pressure),
}

const fromMsgpackForm: Form = {
  uuid: readUuid,
  points: (value) => (value instanceof Uint8Array ? decodePoints(value) : toPoints(value as [number, number][])),
  pressure: (value) => (value instanceof Uint8Array ? decodePressure(value) : Uint8Array.from(value as number[])),
}

export const msgpackCodec: Codec = {
  name: 'msgpack',
  subprotocol: 'enfilade.v1.msgpack',

  encode({ id, type, data }) {
    const body = encode([type, id ?? null, toWire(data, schemaOf(type), msgpackForm)], { ignoreUndefined: true })
    return { body, bytes: body.length }
  },

  frame(messages) {
    if (messages.length === 1) return messages[0]!.body
    const header = arrayHeader(messages.length)
    const frame = new Uint8Array(messages.reduce((sum, { bytes }) => sum + bytes, header.length))
    frame.set(header)
    let at = header.length
    for (const { body } of messages) {
      frame.set(body as Uint8Array, at)
      at += body.length
    }
    return frame
  },

  decode(frame) {
    return understood(() => {
      if (typeof frame === 'string') throw new TypeError('a text frame is no MessagePack')
      const parsed = decode(frame)
      if (!Array.isArray(parsed)) throw new TypeError('a message is an array')
      const batch = parsed.length === 0 || Array.isArray(parsed[0])
      return (batch ? (parsed as unknown[][]) : [parsed as unknown[]]).flatMap(([type, id, data]) =>
        open(type, id, data, fromMsgpackForm),
      )
    })
  },
}

export function codecNamed(name: CodecName): Codec {
  return name === 'json' ? jsonCodec : msgpackCodec
}

/** A snapshot that travelled by itself, in MessagePack. Throws `malformed_frame`. */
export function readSnapshot(bytes: Uint8Array): Snapshot {
  return understood(() => fromWire(decode(bytes), HTTP_SCHEMAS.namedSnapshot, fromMsgpackForm) as Snapshot)
}

/** How long a value is as MessagePack, which is how the size of a signal's body is counted. */
export function msgpackLength(value: unknown): number {
  return encode(value, { ignoreUndefined: true }).length
}

function arrayHeader(length: number): Uint8Array {
  return length < 16 ? Uint8Array.of(0x90 | length) : Uint8Array.of(0xdc, length >> 8, length & 0xff)
}

function open(type: unknown, id: unknown, data: unknown, form: Form): Message[] {
  if (typeof type !== 'string') throw new TypeError('the type of a message is a string')
  if (!isKnown(type)) return []
  const message = { type, data: fromWire(data ?? {}, schemaOf(type), form) }
  return [(typeof id === 'number' ? { id, ...message } : message) as Message]
}

function understood<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new EnfiladeError('malformed_frame', `a frame could not be understood: ${why}`, undefined, { cause })
  }
}

function checkedUuid(value: unknown): Uuid {
  if (typeof value !== 'string' || !isUuid(value)) throw new RangeError(`not a UUID: ${String(value).slice(0, 64)}`)
  return value
}

function readUuid(value: unknown): Uuid {
  return value instanceof Uint8Array ? uuidToText(value) : checkedUuid(value).toLowerCase()
}
