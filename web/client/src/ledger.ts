/**
 * The client id, and the own ops under it: gives each op its id, keeps it in the store until it was answered, and hands
 * back those that an earlier holder of the queue left behind.
 */

import type { Clock } from './clock.js'
import { asError, EnfiladeError } from './errors.js'
import type { Entry } from './outbox.js'
import type { Room } from './room.js'
import { MemoryOpStore, type OpQueue, type OpStore, type QueueOwner, type StoredOp } from './store.js'
import type { Uuid } from './types.js'

/** A store that takes longer is not waited for. */
const STORE_MS = 3_000

export class Ledger {
  #queue: OpQueue | null = null
  #lastOpId = 0
  /** Made before there was a client id. */
  #unnamed: { room: Room; entry: Entry; owner: () => QueueOwner }[] = []

  constructor(
    readonly store: OpStore,
    readonly clock: Clock,
    readonly report: (error: EnfiladeError) => void,
  ) {}

  /** Null until the store has handed one out. */
  get client(): Uuid | null {
    return this.#queue?.client ?? null
  }

  /** Takes a queue: one with ops that `owner` left behind, if there is one. Returns those ops, by room. */
  async open(owner: QueueOwner | undefined): Promise<Map<Uuid, StoredOp[]>> {
    const queue = await this.#openSafely(owner)
    this.#queue = queue
    this.#lastOpId = queue.restored.at(-1)?.op_id ?? 0
    return byRoom(queue.restored)
  }

  /** Names what was made before, behind what was restored. */
  nameWaiting(): void {
    for (const { room, entry, owner } of this.#unnamed.splice(0)) this.keep(room, entry, owner)
  }

  /** Gives an entry its op id, and keeps it; then it may be sent. */
  keep(room: Room, entry: Entry, owner: () => QueueOwner): void {
    if (!this.#queue) return void this.#unnamed.push({ room, entry, owner })
    if (entry.opId === 0) entry.opId = ++this.#lastOpId
    // It has its place, but is not written yet.
    if (entry.after) return
    const { link } = room
    const stored: StoredOp = { room: room.id, op_id: entry.opId, op: entry.op, ...(link !== undefined && { link }) }
    const kept = (): void => {
      entry.kept = true
      room.pump()
    }
    const keeping = this.#queue.put(stored, owner())
    if (!keeping) return kept()
    within(this.clock, STORE_MS, keeping)
      .catch((error: unknown) => this.report(asError(error, 'store_failed')))
      .then(kept)
  }

  forget(opIds: readonly number[]): void {
    this.#queue?.remove(opIds)
  }

  /** Whether ops were restored that are not those of `owner`. */
  isOfAnother(owner: QueueOwner): boolean {
    return this.#queue !== null && this.#queue.restored.length > 0 && this.#queue.owner !== owner
  }

  /** Lets go of the queue and of the client id. What it still has waits for its next holder. */
  release(): void {
    this.#queue?.release()
    this.#queue = null
  }

  /** A store that fails, or hangs, costs the safety of the ops, not the connection. */
  async #openSafely(owner: QueueOwner | undefined): Promise<OpQueue> {
    const opening = (async () => this.store.open(owner))()
    try {
      return await within(this.clock, STORE_MS, opening)
    } catch (error) {
      opening.then((late) => late.release()).catch(() => {})
      this.report(asError(error, 'store_failed'))
      return new MemoryOpStore().open()
    }
  }
}

function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new EnfiladeError('store_failed', 'the store of this browser does not answer')
    const timer = clock.setTimeout(() => reject(late), ms)
    promise.then(resolve, reject).finally(() => clock.clearTimeout(timer))
  })
}

function byRoom(ops: readonly StoredOp[]): Map<Uuid, StoredOp[]> {
  const rooms = new Map<Uuid, StoredOp[]>()
  for (const op of ops) {
    const own = rooms.get(op.room)
    if (own) own.push(op)
    else rooms.set(op.room, [op])
  }
  return rooms
}
