/** What a room, and whoever keeps its state, needs of the client around it. */

import type { Clock, Random } from './clock.js'
import type { CodecName } from './codec.js'
import type { Connection } from './connection.js'
import type { EnfiladeError } from './errors.js'
import type { Entry } from './outbox.js'
import type { Room } from './room.js'
import type { Limits, User, Uuid } from './types.js'

export interface RoomHost {
  readonly clock: Clock
  readonly random: Random
  readonly codec: CodecName
  readonly limits: Readonly<Limits>
  /** Who the server says this is; null before it did. */
  readonly user: User | null
  /** The client id in use; null until there is one. */
  readonly id: Uuid | null
  /** The connection in use. */
  readonly connection: Connection | null
  /** Gives an entry its op id and keeps it; calls back when it may be sent. */
  keep(room: Room, entry: Entry): void
  forget(opIds: readonly number[]): void
  report(error: EnfiladeError): void
  /** The server says that the token has run out. */
  tokenExpired(): void
  /** The room has no business here any more. */
  left(room: Room): void
}
