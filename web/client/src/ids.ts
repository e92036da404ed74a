/** Random ids: UUIDs for clients, short ones for elements. */

import type { Uuid } from './types.js'

/** A random UUID. Works on plain http as well, where `crypto.randomUUID` does not exist. */
export function newClientId(): Uuid {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return uuidToText(bytes)
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'

/** An id for a new element: 16 characters with 96 bits of chance. */
export function randomId(length = 16): string {
  let id = ''
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) id += ALPHABET[byte & 63]
  return id
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function uuidToText(bytes: Uint8Array): Uuid {
  if (bytes.length !== 16) throw new RangeError('a UUID has 16 bytes')
  const hex = (from: number, to: number): string => {
    let text = ''
    for (let i = from; i < to; i++) text += HEX[bytes[i]!]
    return text
  }
  return `${hex(0, 4)}-${hex(4, 6)}-${hex(6, 8)}-${hex(8, 10)}-${hex(10, 16)}`
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function isUuid(text: string): boolean {
  return UUID.test(text)
}

export function uuidToBytes(text: Uuid): Uint8Array {
  if (!isUuid(text)) throw new RangeError(`not a UUID: ${text.slice(0, 64)}`)
  const hex = text.replaceAll('-', '')
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
}
