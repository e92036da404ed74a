/**
 * Where unanswered ops wait, and under which client id.
 *
 * An op is named by `(client, op_id)` for ever, so a queue of ops and a client id belong together: whoever takes over
 * the ops takes over the id. A store hands each queue to one holder at a time.
 */

import { newClientId } from './ids.js'
import type { Op, Uuid } from './types.js'

export interface StoredOp {
  room: Uuid
  link?: string
  op_id: number
  op: Op
}

/** Whose ops they are: the id of a signed-in person, or `guest`. */
export type QueueOwner = Uuid | 'guest'

/** The unanswered ops of one client id. At any time at most one `Client` holds it, over all tabs. */
export interface OpQueue {
  readonly client: Uuid
  /** Whose ops are restored. */
  readonly owner: QueueOwner
  /** What was left unanswered when the queue was last held, in the order of op ids. */
  readonly restored: readonly StoredOp[]
  /** Keeps an op. A promise that resolves means that it is safe; without one it is as safe as it gets. */
  put(op: StoredOp, owner: QueueOwner): Promise<void> | void
  remove(opIds: readonly number[]): void
  /** Lets go of the queue: an empty one is forgotten, another waits for its next holder. */
  release(): void
}

export interface OpStore {
  /** A queue for the caller alone: one that was left behind with ops of `owner` in it, or a new one. */
  open(owner: QueueOwner | undefined): Promise<OpQueue> | OpQueue
  /** A further queue that was left behind with ops of `owner`, if there is one. */
  leftBehind(owner: QueueOwner): Promise<OpQueue | null>
}

/** Keeps ops for as long as the page lives. */
export class MemoryOpStore implements OpStore {
  readonly #client: Uuid | undefined

  /** `client` fixes the id; it must not be in use anywhere else. */
  constructor(client?: Uuid) {
    this.#client = client
  }

  open(): OpQueue {
    const client = this.#client ?? newClientId()
    return { client, owner: 'guest', restored: [], put() {}, remove() {}, release() {} }
  }

  async leftBehind(): Promise<null> {
    return null
  }
}
