/** The messages that the server's tests read and write as well. */

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { decode } from '@msgpack/msgpack'
import { describe, expect, test } from 'vitest'

import { jsonCodec, msgpackCodec } from '../src/codec.js'
import { isPacked, unpack } from '../src/packed.js'
import type { ServerMessage } from '../src/types.js'

interface Vector {
  name: string
  from: 'client' | 'server'
  json: object
  msgpack: string
}

const folder = fileURLToPath(new URL('../../../proto/vectors', import.meta.url))
const files = readdirSync(folder).filter((file) => file.endsWith('.json') && file !== 'deflate.json')

const read = (file: string): Vector[] => JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as Vector[]

describe.each(files)('%s', (file) => {
  const vectors = read(file)

  test.each(vectors)('$name', ({ from, json, msgpack }) => {
    const bytes = Uint8Array.from(Buffer.from(msgpack, 'hex'))
    const messages = msgpackCodec.decode(bytes)
    expect(messages).toHaveLength(1)
    expect(messages).toEqual(jsonCodec.decode(JSON.stringify(json)))
    for (const codec of [jsonCodec, msgpackCodec]) {
      expect(codec.decode(codec.encode(messages[0]!).body)).toEqual(messages)
    }
    if (from === 'client') {
      expect(decode(msgpackCodec.encode(messages[0]!).body as Uint8Array)).toEqual(decode(bytes))
      expect(JSON.parse(jsonCodec.encode(messages[0]!).body as string)).toEqual(json)
    }
  })
})

test.each(read('deflate.json'))('$name', async ({ json, msgpack }) => {
  const [packed] = msgpackCodec.decode(Uint8Array.from(Buffer.from(msgpack, 'hex'))) as [ServerMessage]
  const [plain] = jsonCodec.decode(JSON.stringify(json)) as [ServerMessage]
  expect(isPacked(plain)).toBe(false)
  if (!isPacked(packed)) throw new Error('the vector is not packed')
  expect(await unpack(packed)).toEqual(plain)
})
