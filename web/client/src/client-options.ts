/** What a client is made with, and what it tells. */

import type { Clock, Random } from './clock.js'
import type { CodecName } from './codec.js'
import type { SocketConstructor } from './connection.js'
import type { Credentials } from './credentials.js'
import type { EnfiladeError } from './errors.js'
import type { OpStore } from './store.js'
import type { Uuid, Welcome } from './types.js'

/**
 * `connecting`: for the first time, or at once after a polite goodbye. `offline`: the connection was lost and is being
 * tried again. `closed`: for good.
 */
export type Status = 'connecting' | 'online' | 'offline' | 'closed'

export interface CloseReason {
  code: number
  reason: string
}

export interface ClientOptions {
  /** `wss://…/ws` */
  url: string
  /** Asked at the start, and again whenever a fresh token is needed. An audience needs none. */
  credentials?: () => Promise<Credentials> | Credentials
  /** Only watches: a viewer at most, counted and not listed. Without credentials nobody is behind it. */
  audience?: boolean
  codec?: CodecName
  /** A fixed client id, which nobody else uses at the same time. Excludes `store`, which hands them out. */
  client?: Uuid
  /** Where there is no global one, or another is to be used. */
  WebSocket?: SocketConstructor
  /** Where unanswered ops survive a reload; in memory unless given. */
  store?: OpStore
  random?: Random
  clock?: Clock
  /** For snapshots over HTTP, where there is no global one. */
  fetch?: typeof globalThis.fetch
}

export interface ClientEvents {
  status: Status
  /** Said hello, on a first or a new connection. */
  welcome: Welcome
  /** Something went wrong that no promise and no other event tells. */
  error: EnfiladeError
  /** Every op was answered, and no room is joined any more. */
  idle: null
  /** The end: the server said not to come back, or `close` was called. */
  closed: CloseReason
}
