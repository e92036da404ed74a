/** Own ops of one room on their way: sent in order on the connection through which the room is joined, until each has its answer. */

import type { Connection } from './connection.js'
import { EnfiladeError } from './errors.js'
import { Entry, Outbox, type Submission } from './outbox.js'
import type { Room } from './room.js'
import type { StoredOp } from './store.js'
import type { Op } from './types.js'

/** A submission that did not happen. */
export type Rejected = Submission & { readonly refusal: EnfiladeError }

/** What delivering needs of the room around it. */
export interface DeliveryRoom {
  /** Where ops may go now; null while the room is not joined. */
  line(): Connection | null
  /** Why no op may be submitted; null if it may. */
  closed(): EnfiladeError | null
  /** The server takes no ops on this line before another join. */
  shutOut(line: Connection, error: EnfiladeError): void
  submitted(submission: Submission): void
  accepted(submission: Submission): void
  rejected(submission: Rejected): void
  /** How many ops wait for their answer has changed. */
  unanswered(count: number): void
  /** An op is no longer to be delivered. */
  settled(): void
}

/** More than a day of drawing offline. */
const MOST_UNANSWERED = 20_000

export class Delivery {
  readonly #room: Room
  readonly #around: DeliveryRoom
  readonly #outbox = new Outbox()
  #pumpAt: unknown

  constructor(room: Room, around: DeliveryRoom) {
    this.#room = room
    this.#around = around
  }

  get size(): number {
    return this.#outbox.size
  }

  get submissions(): readonly Submission[] {
    return this.#outbox.entries()
  }

  submit(op: Op): Submission {
    return this.#enqueue(new Entry(op))
  }

  /** An op that is written with the seq of another one that is on its way. */
  submitAfter(first: Submission, write: (seq: number) => Op): Submission {
    if (first.seq !== null) return this.submit(write(first.seq))
    return this.#enqueue(Entry.after(first as Entry, write))
  }

  /** Takes an op back if it cannot have reached the server. */
  withdraw(submission: Submission): boolean {
    const entry = submission as Entry
    if (!this.#outbox.withdraw(entry)) return false
    this.#room.host.forget([entry.opId])
    this.#dropFollowers(entry)
    this.#countUnanswered()
    return true
  }

  /** Ops that were left unanswered by an earlier holder of the queue. */
  restore(stored: readonly StoredOp[]): void {
    const entries = stored.map(({ op, op_id }) => Entry.restored(op, op_id))
    this.#outbox.restore(entries)
    for (const entry of entries) this.#around.submitted(entry)
    this.#countUnanswered()
  }

  /** The entries get new ids under a new client; those restored under the old one are dropped. */
  rename(): void {
    for (const entry of this.#outbox.entries().slice()) {
      entry.opId = 0
      entry.kept = false
      if (entry.sent) {
        // Left behind by somebody else, whose store still has it.
        this.#reject(this.#outbox.drop(entry, new EnfiladeError('withdrawn', 'the op waits for the person who made it')))
      } else this.#room.host.keep(this.#room, entry)
    }
    this.#countUnanswered()
    this.#around.settled()
  }

  /**
   * The room is joined on this line. What was answered on another one meanwhile is gone from the outbox; the rest is due
   * here, in order.
   */
  moveTo(line: Connection): void {
    this.#outbox.moveTo(line)
  }

  /** Something may be sent that could not be sent before. */
  pump(): void {
    const line = this.#around.line()
    if (!line) return
    const { clock } = this.#room.host
    for (;;) {
      const now = clock.now()
      const entry = this.#outbox.next(now, line.limits.ops_in_flight)
      if (!entry) return this.#pumpAfter(this.#outbox.heldUntil - now)
      if (!line.opPacer.take(now)) return this.#pumpAfter(line.opPacer.waitMs(now))
      this.#send(line, entry)
    }
  }

  /** The server has committed it: it said so, or the op came back in the history. */
  accept(opId: number, seq: number): void {
    const entry = this.#outbox.accepted(opId, seq)
    if (!entry) return
    this.#room.host.forget([opId])
    for (const follower of this.#outbox.followers(entry)) {
      follower.write(seq)
      this.#room.host.keep(this.#room, follower)
    }
    this.#around.accepted(entry)
    this.#countUnanswered()
    this.pump()
    this.#around.settled()
  }

  /** The server will take none of them. */
  refuseAll(error: EnfiladeError): void {
    this.#room.host.forget(this.#outbox.entries().map(({ opId }) => opId))
    this.#rejectAll(error)
  }

  /** Nothing will be answered any more; a store may keep the ops for another time. */
  close(error: EnfiladeError): void {
    this.#room.host.clock.clearTimeout(this.#pumpAt)
    this.#rejectAll(error)
  }

  #enqueue(entry: Entry): Submission {
    const problem = this.#around.closed() ?? this.#full() ?? entry.after?.refusal
    if (problem) {
      entry.refusal = problem
      entry.reject(problem)
      this.#reject(entry)
      return entry
    }
    this.#outbox.add(entry)
    this.#around.submitted(entry)
    this.#room.host.keep(this.#room, entry)
    this.#countUnanswered()
    return entry
  }

  #full(): EnfiladeError | null {
    if (this.#outbox.size < MOST_UNANSWERED) return null
    return new EnfiladeError('queue_full', `${MOST_UNANSWERED} ops wait for an answer already`)
  }

  #send(line: Connection, entry: Entry): void {
    const { opId, op } = entry
    this.#outbox.sentOn(line, entry)
    line.request('submit', { room: this.#room.id, op_id: opId, op }, (reply) => {
      if (!(reply instanceof EnfiladeError)) {
        if (reply.type === 'accepted') this.accept(opId, reply.data.seq)
      } else if (reply.code !== 'disconnected') this.#refused(line, entry, reply)
      else if (entry.line === line) entry.line = null
    })
  }

  #refused(line: Connection, entry: Entry, error: EnfiladeError): void {
    // It was sent again elsewhere, where it will be answered.
    if (entry.line !== line) return
    const { host } = this.#room
    if (error.code === 'token_expired') host.tokenExpired()
    if (error.code === 'not_joined' || error.code === 'token_expired') {
      // Not the op's fault: it goes again after the next join.
      this.#outbox.lost(line)
      return this.#around.shutOut(line, error)
    }
    const final = this.#outbox.refused(entry.opId, error, host.clock.now(), host.random())
    if (!final) return this.pump()
    host.forget([entry.opId])
    this.#reject(final)
    this.#dropFollowers(final)
    this.#countUnanswered()
    this.pump()
    this.#around.settled()
  }

  /** What was to be written with the seq of an op that has none makes no sense any more. */
  #dropFollowers(entry: Entry): void {
    const error = new EnfiladeError('withdrawn', 'the op that it builds on did not happen')
    for (const follower of this.#outbox.followers(entry)) this.#reject(this.#outbox.drop(follower, error))
  }

  #rejectAll(error: EnfiladeError): void {
    const entries = this.#outbox.rejectAll(error)
    for (const entry of entries) this.#reject(entry)
    if (entries.length > 0) this.#countUnanswered()
  }

  #reject(entry: Entry): void {
    this.#around.rejected(entry as Entry & Rejected)
  }

  #countUnanswered(): void {
    this.#around.unanswered(this.#outbox.size)
  }

  #pumpAfter(ms: number): void {
    const { clock } = this.#room.host
    clock.clearTimeout(this.#pumpAt)
    if (ms > 0) this.#pumpAt = clock.setTimeout(() => this.pump(), ms)
  }
}
