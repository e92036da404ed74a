/** A room's snapshot over HTTP: a crowd gets it from the caches on the way, and then joins from there. */

import { readSnapshot } from './codec.js'
import { EnfiladeError } from './errors.js'
import type { CachedRoom } from './history.js'
import type { Uuid } from './types.js'

export interface SnapshotRequest {
  /** Such as `https://example.org`. */
  origin: string
  room: Uuid
  link: string | undefined
  token: string | undefined
  fetch: typeof globalThis.fetch
}

/** Whoever waits longer is better served by the connection. */
const PATIENCE_MS = 10_000
/** The newest may be replaced between the two steps. */
const TRIES = 2

/** Rejects when there is none to be had in this way, for whatever reason. */
export async function fetchSnapshot(request: SnapshotRequest): Promise<CachedRoom> {
  let status = 0
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const response = await ask(request)
    status = response.status
    if (response.ok) return read(response)
    if (status !== 404) break
  }
  throw new EnfiladeError('unreachable', `there is no snapshot over HTTP: the server answered ${status}`)
}

/** Asks where the newest is, and is led there. */
function ask({ origin, room, link, token, fetch }: SnapshotRequest): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/msgpack' }
  if (link !== undefined) headers['Enfilade-Link'] = link
  if (token !== undefined) headers.Authorization = `Bearer ${token}`
  return fetch(`${origin}/api/v1/rooms/${room}/snapshots/latest`, {
    headers,
    credentials: 'omit',
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
}

async function read(response: Response): Promise<CachedRoom> {
  const name = /\/snapshots\/(\d+)-(\d+)$/.exec(new URL(response.url).pathname)
  if (!name) throw new EnfiladeError('malformed_frame', 'a snapshot without a name')
  const position = { epoch: Number(name[1]), seq: Number(name[2]) }
  const snapshot = readSnapshot(new Uint8Array(await response.arrayBuffer()))
  if (snapshot.seq !== position.seq) throw new EnfiladeError('malformed_frame', 'a snapshot under the name of another')
  return { position, snapshot }
}
