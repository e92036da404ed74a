/**
 * The unanswered ops of one room, in the order of their ids. Decides what may be sent when; never sends.
 *
 * An op leaves by an answer: accepted, or refused for good. An invitation to try again holds everything behind that op
 * back, because ops may build on each other.
 */

import { EnfiladeError, invitesRetry } from './errors.js'
import type { Op } from './types.js'

/** An op on its way. */
export interface Submission {
  /** Not yet what it will be while `after` is there. */
  readonly op: Op
  /** The op whose seq this one is waiting for, because it is written with it. */
  readonly after: Submission | null
  /** 0 until it has one. */
  readonly opId: number
  /** Whether it may have reached the server. */
  readonly sent: boolean
  /** Its place in the history, once accepted. */
  readonly seq: number | null
  /** Why it was refused. */
  readonly refusal: EnfiladeError | null
  /** Resolves with the seq, rejects with an EnfiladeError. Need not be listened to. */
  readonly result: Promise<number>
}

/** What an outbox keeps of a submission. */
export class Entry implements Submission {
  opId = 0
  sent = false
  seq: number | null = null
  refusal: EnfiladeError | null = null
  readonly result: Promise<number>
  resolve!: (seq: number) => void
  reject!: (error: EnfiladeError) => void
  /** Where it is on its way to an answer; null while it waits to be sent (again). */
  line: object | null = null
  /** Written, and safe in the store, or as safe as it gets. Nothing is sent before that. */
  kept = false
  /** It was in flight when an op before it was asked to come again; a refusal may be due to that. */
  overtook = false
  /** How often the server failed over it. */
  slips = 0

  /** What this one is waiting for, and how it is written then. */
  #awaits: { first: Entry; write: (seq: number) => Op } | null = null

  constructor(public op: Op) {
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.result.catch(() => {})
  }

  /** An op that is written with the seq of another. */
  static after(first: Entry, write: (seq: number) => Op): Entry {
    const entry = new Entry(write(0))
    entry.#awaits = { first, write }
    return entry
  }

  /** An op that an earlier holder of its id has left behind, and may have sent. */
  static restored(op: Op, opId: number): Entry {
    const entry = new Entry(op)
    entry.opId = opId
    entry.kept = true
    entry.sent = true
    return entry
  }

  get after(): Entry | null {
    return this.#awaits?.first ?? null
  }

  /** The other op has its seq. */
  write(seq: number): void {
    if (this.#awaits) this.op = this.#awaits.write(seq)
    this.#awaits = null
  }
}

/** What an answer from the server means for an op. */
export type Outcome = 'settled' | 'again' | 'unknown'

const RETRY_FIRST_MS = 250
const RETRY_MOST_MS = 10_000
const SLIPS_MAX = 5

export class Outbox {
  readonly #entries: Entry[] = []
  #heldUntil = 0
  #retries = 0

  get size(): number {
    return this.#entries.length
  }

  entries(): readonly Entry[] {
    return this.#entries
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
  }

  /** Ops from before everything else. */
  restore(entries: readonly Entry[]): void {
    this.#entries.unshift(...entries)
  }

  /** The next op to send, if one may go: not while held back, not beyond the window, none before it is kept. */
  next(now: number, window: number): Entry | undefined {
    if (now < this.#heldUntil) return undefined
    let inFlight = 0
    let next: Entry | undefined
    for (const entry of this.#entries) {
      if (entry.line) inFlight++
      else next ??= entry
      if (inFlight >= window) return undefined
      if (next && !next.kept) return undefined
    }
    return next
  }

  /** Those that wait for the seq of this one. */
  followers(first: Entry): Entry[] {
    return this.#entries.filter(({ after }) => after === first)
  }

  /** When ops may be sent again that are held back now; 0 if none are. */
  get heldUntil(): number {
    return this.#heldUntil
  }

  sentOn(line: object, entry: Entry): void {
    entry.line = line
    entry.sent = true
  }

  /** The server has committed it. Answers twice or for strangers change nothing. */
  accepted(opId: number, seq: number): Entry | undefined {
    const entry = this.#take(opId)
    if (!entry) return undefined
    this.#retries = 0
    entry.seq = seq
    entry.resolve(seq)
    return entry
  }

  /** The server has not applied it. Returns the entry if that is final. */
  refused(opId: number, error: EnfiladeError, now: number, jitter: number): Entry | undefined {
    const entry = this.#entries.find((entry) => entry.opId === opId)
    if (!entry) return undefined
    // The server's own mistakes may be over soon; an op that causes one again and again must not block the others.
    const slip = error.code === 'internal' && entry.slips++ < SLIPS_MAX
    if (invitesRetry(error) || slip) {
      this.#comeAgain(entry, now + this.#retryMs(error, jitter))
      return undefined
    }
    if (entry.overtook) {
      entry.overtook = false
      entry.line = null
      return undefined
    }
    return this.drop(entry, error)
  }

  /** Nothing is known about ops that were in flight there: they are to be sent again. */
  lost(line: object): void {
    for (const entry of this.#entries) if (entry.line === line) entry.line = null
  }

  /** From here on ops go out on this line: those in flight elsewhere are to be sent again. */
  moveTo(line: object): void {
    for (const entry of this.#entries) if (entry.line !== line) entry.line = null
  }

  /** Takes an op back that cannot have reached the server. */
  withdraw(entry: Entry): boolean {
    if (entry.sent || !this.#entries.includes(entry)) return false
    this.drop(entry, new EnfiladeError('withdrawn', 'the op was taken back before it was sent'))
    return true
  }

  /** Gives up on everything. */
  rejectAll(error: EnfiladeError): Entry[] {
    return this.#entries.slice().map((entry) => this.drop(entry, error))
  }

  /** Gives up on one. */
  drop(entry: Entry, error: EnfiladeError): Entry {
    this.#entries.splice(this.#entries.indexOf(entry), 1)
    entry.refusal = error
    entry.reject(error)
    return entry
  }

  #comeAgain(entry: Entry, at: number): void {
    entry.line = null
    this.#heldUntil = Math.max(this.#heldUntil, at)
    const behind = this.#entries.slice(this.#entries.indexOf(entry) + 1)
    for (const other of behind) if (other.line) other.overtook = true
  }

  #retryMs(error: EnfiladeError, jitter: number): number {
    const own = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** this.#retries++) * jitter
    return Math.max(error.retryAfterMs ?? RETRY_FIRST_MS, own)
  }

  #take(opId: number): Entry | undefined {
    const at = this.#entries.findIndex((entry) => entry.opId === opId)
    return at < 0 ? undefined : this.#entries.splice(at, 1)[0]
  }
}
