/**
 * Where this client stands in a room: takes what the server sends of its history, and hands on what is new, in order,
 * without gap or repeat. It asks nobody for what is missing; it says so.
 */

import type { LoggedOp, Position, Snapshot } from './types.js'

export interface CachedRoom {
  /** `position.seq` is `snapshot.seq`. */
  position: Position
  snapshot: Snapshot
}

export interface HistoryReader {
  /** Everything before does not count; null is an empty room. */
  startedFrom(snapshot: Snapshot | null): void
  /** `ops[i]` has the seq `firstSeq + i`. */
  continued(firstSeq: number, ops: LoggedOp[]): void
}

/** A piece of the history as the server sends it: a snapshot or not, and the ops that end at `position`. */
export interface Piece {
  position: Position
  snapshot?: Snapshot
  ops?: LoggedOp[]
}

export class History {
  readonly #reader: HistoryReader
  #position: Position | null = null
  #cached: CachedRoom | null = null

  constructor(reader: HistoryReader) {
    this.#reader = reader
  }

  /** Null before the first snapshot, and after what was known was forgotten. */
  get position(): Position | null {
    return this.#position
  }

  /** What it began with, until something newer has come. */
  get cached(): CachedRoom | null {
    return this.#cached
  }

  beginWith(cached: CachedRoom): void {
    this.#cached = cached
    this.#position = { epoch: cached.position.epoch, seq: cached.snapshot.seq }
  }

  /** What is known is not the truth any more. */
  forget(): void {
    this.#position = null
    this.#cached = null
  }

  /** Takes a piece that goes on from here or, unless `resumed`, starts over. False if that leaves a gap: forgets all. */
  take({ position, snapshot, ops = [] }: Piece, resumed: boolean): boolean {
    const first = position.seq - ops.length + 1
    if (snapshot || !resumed) this.#startFrom(snapshot ?? null, { epoch: position.epoch, seq: first - 1 })
    const known = this.#position?.seq ?? 0
    if (first > known + 1 || known > position.seq) {
      this.#position = null
      return false
    }
    this.#append(first, ops)
    this.#position = { ...position }
    return true
  }

  /** Takes ops as they happen. */
  add(epoch: number, firstSeq: number, ops: LoggedOp[]): 'added' | 'known' | 'gap' {
    const last = firstSeq + ops.length - 1
    // Before there is a position there is nothing to add to.
    if (!this.#position || last <= this.#position.seq) return 'known'
    if (firstSeq > this.#position.seq + 1) return 'gap'
    this.#append(firstSeq, ops)
    this.#position = { epoch, seq: last }
    return 'added'
  }

  #startFrom(snapshot: Snapshot | null, position: Position): void {
    this.#position = snapshot ? { epoch: position.epoch, seq: snapshot.seq } : position
    this.#cached = null
    this.#reader.startedFrom(snapshot)
  }

  /** Skips what is known and hands on the rest. */
  #append(firstSeq: number, ops: LoggedOp[]): void {
    const { epoch, seq } = this.#position!
    const fresh = ops.slice(Math.max(0, seq + 1 - firstSeq))
    if (fresh.length === 0) return
    this.#cached = null
    this.#position = { epoch, seq: firstSeq + ops.length - 1 }
    this.#reader.continued(firstSeq + ops.length - fresh.length, fresh)
  }
}
