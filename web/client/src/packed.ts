/** Messages whose snapshot is packed, and the same with the snapshot in its place. */

import { readSnapshot } from './codec.js'
import { inflate } from './inflate.js'
import type { ServerMessage } from './types.js'

type Packed = Extract<ServerMessage, { type: 'joined' | 'reset' }> & { data: { snapshot_deflate: Uint8Array } }

export function isPacked(message: ServerMessage): message is Packed {
  return (message.type === 'joined' || message.type === 'reset') && message.data.snapshot_deflate !== undefined
}

/** Rejects when the snapshot cannot be unpacked, or is none. */
export async function unpack({ data: { snapshot_deflate, ...data }, ...envelope }: Packed): Promise<ServerMessage> {
  const snapshot = readSnapshot(await inflate(snapshot_deflate))
  return { ...envelope, data: { ...data, snapshot } } as ServerMessage
}
