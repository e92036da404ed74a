/**
 * A room as this client sees it: joined, and joined again, without missing or repeating an op; own ops delivered
 * exactly once and in order; signals and presence of the moment.
 */

import { Backoff } from './backoff.js'
import type { Clock, Random } from './clock.js'
import type { CodecName } from './codec.js'
import type { Connection, Reply } from './connection.js'
import { EnfiladeError, invitesRetry } from './errors.js'
import { Emitter } from './events.js'
import { Entry, Outbox, type Submission } from './outbox.js'
import { SignalSender } from './signal-lane.js'
import type { StoredOp } from './store.js'
import type {
  Joined,
  Json,
  Limits,
  LoggedOp,
  Member,
  Op,
  Position,
  Presence,
  Role,
  RoomKind,
  ServerMessage,
  ServerMessages,
  Signal,
  Snapshot,
  User,
  Uuid,
} from './types.js'

export type { Submission } from './outbox.js'

export interface JoinOptions {
  /** The secret of a share link, or the whole link. */
  link?: string
  /** What is known of the room from before; the server then sends only what is missing. */
  cached?: CachedRoom
}

export interface CachedRoom {
  /** `position.seq` is `snapshot.seq`. */
  position: Position
  snapshot: Snapshot
}

/** `joining` is also the state of a room whose connection was lost: it joins again by itself. */
export type RoomState = 'joining' | 'joined' | 'refused' | 'left'

export interface RoomPresence {
  /** How many people there are. */
  readonly count: number
  /** Who they are, by id; in a room of more than 200 people not all are listed. */
  readonly members: ReadonlyMap<Uuid, Member>
}

export interface RoomEvents {
  state: RoomState
  /** The server let us in (again): role, title and presence are up to date. */
  joined: Room
  /** The join was refused. */
  refused: EnfiladeError
  /** Forget what you know of the room and take this; null is an empty room. */
  reset: { snapshot: Snapshot | null }
  /** What happened, in order, without gap or repeat, own ops included; `ops[i]` has the seq `firstSeq + i`. */
  ops: { firstSeq: number; ops: LoggedOp[] }
  /** What others do right now. */
  signals: Signal[]
  presence: RoomPresence
  /** The room has a title, or another one. */
  renamed: string
  /** How many own ops wait for their answer: the truth behind "saving" and "offline with n changes". */
  unanswered: number
  /** An own op is on its way. */
  submitted: Submission
  /** An own op is on disk. */
  accepted: Submission
  /** An own op was refused: undo what you showed of it. */
  rejected: Submission & { readonly refusal: EnfiladeError }
}

/** What a room, and whoever keeps its state, needs of the client around it. */
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

/** What the server says of a room without being asked. */
export type RoomMessage = Extract<ServerMessage, { type: 'ops' | 'signals' | 'presence' | 'reset' | 'renamed' }>

/** More than a day of drawing offline. */
const MOST_UNANSWERED = 20_000
/** Refusals of a join that are not for good. */
const AGAIN: ReadonlySet<string> = new Set(['token_expired', 'internal'])
const NOBODY: RoomPresence = { count: 0, members: new Map() }

export class Room extends Emitter<RoomEvents> {
  readonly id: Uuid
  readonly host: RoomHost
  readonly #outbox = new Outbox()
  readonly #signals: SignalSender
  #link: string | undefined
  /** Whether the application is interested; if not, the room only delivers what it still has to. */
  #wanted: boolean
  #state: RoomState = 'joining'
  #refusal: EnfiladeError | null = null
  #kind: RoomKind | null = null
  #title = ''
  #role: Role | null = null
  #presence = NOBODY
  #position: Position | null = null
  #cached: CachedRoom | null = null
  /** The connection through which the room is joined now. */
  #line: Connection | null = null
  /** The connection on which the answer to a join is awaited, and who wants to know. */
  #joining: { on: Connection; settled: () => void } | null = null
  #retry: unknown
  #backoff: Backoff | null = null
  #pumpAt: unknown

  /** Made by `Client.join`. */
  constructor(host: RoomHost, id: Uuid, options: JoinOptions, wanted: boolean) {
    super()
    this.host = host
    this.id = id
    this.#signals = new SignalSender(id, host.clock, (error) => host.report(error))
    this.#link = options.link
    this.#wanted = wanted
    if (options.cached) this.#useCache(options.cached)
  }

  get kind(): RoomKind | null {
    return this.#kind
  }

  get title(): string {
    return this.#title
  }

  /** What this person may do here; null until the room was joined. */
  get role(): Role | null {
    return this.#role
  }

  get state(): RoomState {
    return this.#wanted ? this.#state : 'left'
  }

  /** Why the join was refused. */
  get refusal(): EnfiladeError | null {
    return this.#refusal
  }

  /** Where this client stands; null before the first snapshot. */
  get position(): Position | null {
    return this.#position
  }

  get presence(): RoomPresence {
    return this.#presence
  }

  /** How many own ops wait for their answer. */
  get unanswered(): number {
    return this.#outbox.size
  }

  /** Own ops that wait for their answer, in order. */
  get submissions(): readonly Submission[] {
    return this.#outbox.entries()
  }

  get link(): string | undefined {
    return this.#link
  }

  /** What the room was joined with, for whoever keeps its state, until something newer has come. */
  get cached(): CachedRoom | null {
    return this.#cached
  }

  /**
   * Sends an op; offline it waits. Resolves with its seq once it is on disk. Rejects with EnfiladeError when it was
   * refused; it then did not happen.
   */
  submit(op: Op): Promise<number> {
    return this.enqueue(op).result
  }

  /** As `submit`, for those who want to follow the op on its way. */
  enqueue(op: Op): Submission {
    return this.#enqueue(new Entry(op))
  }

  /**
   * An op that is written with the seq of another one that is on its way. It keeps its place: what comes behind it waits.
   * If the other one is refused, so is this.
   */
  enqueueAfter(first: Submission, write: (seq: number) => Op): Submission {
    if (first.seq !== null) return this.enqueue(write(first.seq))
    return this.#enqueue(Entry.after(first as Entry, write))
  }

  #enqueue(entry: Entry): Submission {
    const problem = this.#refusesToSubmit() ?? entry.after?.refusal
    if (problem) {
      entry.refusal = problem
      entry.reject(problem)
      this.#emitRejected(entry)
      return entry
    }
    this.#outbox.add(entry)
    this.emit('submitted', entry)
    this.host.keep(this, entry)
    this.#emitUnanswered()
    return entry
  }

  /** Takes an op back if it cannot have reached the server. */
  withdraw(submission: Submission): boolean {
    const entry = submission as Entry
    if (!this.#outbox.withdraw(entry)) return false
    this.host.forget([entry.opId])
    this.#dropFollowers(entry)
    this.#emitUnanswered()
    return true
  }

  /** Tells everybody in the room. Dropped while offline; of signals with one key the latest wins. */
  signal(key: string, body: Json): void {
    if (!this.#line?.ready || this.#role === 'viewer' || !this.#wanted) return
    this.#signals.say(this.#line, key, body)
  }

  /** The person has seen everything through `seq`. */
  read(seq: number): void {
    this.#line?.request('read', { room: this.id, seq }, (reply) => {
      if (reply instanceof EnfiladeError && reply.code !== 'disconnected') this.host.report(reply)
    })
  }

  /** Asks for the whole room again; it comes as `reset`. */
  refetch(): void {
    this.#position = null
    this.#cached = null
    if (this.line?.ready) this.#join(this.line)
  }

  /** Stays until the last own op was answered, but is not heard of any more. */
  leave(): void {
    if (!this.#wanted) return
    this.#wanted = false
    this.#signals.clear()
    this.emit('state', 'left')
    this.#goIfIdle()
  }

  // ---- for the client ---------------------------------------------------------------------------------------------

  /** The connection through which the room is joined now, or about to be. */
  get line(): Connection | null {
    return this.#joining?.on ?? this.#line
  }

  /** The application asked for the room (again). */
  want(options: JoinOptions): void {
    const link = options.link ?? this.#link
    const again = link !== this.#link || this.#state === 'refused'
    const returned = !this.#wanted
    this.#link = link
    this.#wanted = true
    if (options.cached && !this.#position) this.#useCache(options.cached)
    if (this.#state === 'refused') this.#setState('joining')
    else if (returned) this.emit('state', this.#state)
    const line = this.#joining?.on ?? this.host.connection
    if (again && line?.ready) this.#join(line)
  }

  /** Ops that were left unanswered by an earlier holder of the queue. */
  restore(stored: readonly StoredOp[]): void {
    const entries = stored.map(({ op, op_id }) => Entry.restored(op, op_id))
    this.#link ??= stored.find(({ link }) => link !== undefined)?.link
    this.#outbox.restore(entries)
    for (const entry of entries) this.emit('submitted', entry)
    this.#emitUnanswered()
  }

  /** The entries get new ids under a new client; those restored under the old one are dropped. */
  rename(): void {
    for (const entry of this.#outbox.entries().slice()) {
      entry.opId = 0
      entry.kept = false
      if (entry.sent) {
        // Left behind by somebody else, whose store still has it.
        this.#outbox.drop(entry, new EnfiladeError('withdrawn', 'the op waits for the person who made it'))
        this.#emitRejected(entry)
      } else this.host.keep(this, entry)
    }
    this.#emitUnanswered()
    this.#goIfIdle()
  }

  /** Joins on a connection that is ready. The room stays on its present line until the answer is there. */
  attach(connection: Connection, settled: () => void = () => {}): void {
    if (this.#state === 'refused') return settled()
    this.#join(connection, settled)
  }

  /** The connection is gone, and whoever waited for an answer from it knows. */
  detach(connection: Connection): void {
    if (this.#joining?.on === connection) this.#joining = null
    if (this.#line !== connection) return
    this.#line = null
    this.#signals.clear()
    if (this.#state === 'joined') this.#setState('joining')
  }

  /** What is known of the room is not the truth any more. */
  forgetState(): void {
    this.#position = null
    this.#cached = null
  }

  /** Nothing will be answered any more. */
  close(error: EnfiladeError): void {
    for (const timer of [this.#retry, this.#pumpAt]) this.host.clock.clearTimeout(timer)
    this.#signals.stop()
    this.#line = this.#joining = null
    const entries = this.#outbox.rejectAll(error)
    for (const entry of entries) this.#emitRejected(entry)
    if (entries.length > 0) this.#emitUnanswered()
    if (this.#state !== 'refused') this.#setState('left')
  }

  /** Something may be sent that could not be sent before. */
  pump(): void {
    const line = this.#line
    if (!line?.ready || this.#state !== 'joined') return
    const { clock } = this.host
    for (;;) {
      const now = clock.now()
      const entry = this.#outbox.next(now, line.limits.ops_in_flight)
      if (!entry) return this.#pumpAfter(this.#outbox.heldUntil - now)
      if (!line.opPacer.take(now)) return this.#pumpAfter(line.opPacer.waitMs(now))
      this.#send(line, entry)
    }
  }

  /** `line` is where the message came from; only the connection through which the room is joined counts. */
  take(line: Connection, message: RoomMessage): void {
    if (line !== this.#line) return
    if (message.type === 'ops') this.#takeOps(line, message.data)
    if (message.type === 'signals') this.#takeSignals(message.data)
    if (message.type === 'presence') this.#takePresence(message.data)
    if (message.type === 'reset') this.#takeReset(line, message.data)
    if (message.type === 'renamed') this.#takeTitle(message.data.title)
  }

  /** The server says how far the room has come. A ping never overtakes ops, so to be behind is to have missed some. */
  head(line: Connection, seq: number): void {
    if (line === this.#line && !this.#joining && this.#position && this.#position.seq < seq) this.#join(line)
  }

  /** Makes the server say something, and catches up if there is anything to catch up with. */
  check(): boolean {
    if (!this.#line || this.#joining) return false
    this.#join(this.#line)
    return true
  }

  // ---- joining ----------------------------------------------------------------------------------------------------

  #join(connection: Connection, settled: () => void = () => {}): void {
    const since = this.#position
    const attempt = { on: connection, settled }
    // A later join on the same connection stands for the earlier one.
    if (this.#joining?.on === connection) attempt.settled = both(this.#joining.settled, settled)
    this.#joining = attempt
    const data = {
      room: this.id,
      ...(this.#link !== undefined && { link: this.#link }),
      ...(since && { since: { ...since } }),
    }
    connection.request('join', data, (reply) => {
      if (this.#joining !== attempt) return
      this.#joining = null
      // The client attaches the room elsewhere.
      if (reply instanceof EnfiladeError && reply.code === 'disconnected') return
      this.#answered(connection, reply, since !== null)
      attempt.settled()
    })
  }

  #answered(connection: Connection, reply: Reply, resumed: boolean): void {
    if (!(reply instanceof EnfiladeError)) {
      if (reply.type === 'joined') this.#joined(connection, reply.data, resumed)
      return
    }
    if (reply.code === 'token_expired') this.host.tokenExpired()
    if (invitesRetry(reply) || AGAIN.has(reply.code)) return this.#joinLater(connection, reply)
    this.#refuse(reply)
  }

  #joinLater(connection: Connection, error: EnfiladeError): void {
    const { clock, random } = this.host
    this.#backoff ??= new Backoff(random)
    const ms = Math.max(error.retryAfterMs ?? 0, this.#backoff.next())
    clock.clearTimeout(this.#retry)
    this.#retry = clock.setTimeout(() => {
      if (connection.ready && !this.#joining && this.#state !== 'left') this.#join(connection)
    }, ms)
  }

  #refuse(error: EnfiladeError): void {
    this.#refusal = error
    this.#line = null
    this.#role = null
    this.#signals.clear()
    this.#takePresence({ count: 0, members: [] })
    const entries = this.#outbox.rejectAll(error)
    this.host.forget(entries.map(({ opId }) => opId))
    for (const entry of entries) this.#emitRejected(entry)
    if (entries.length > 0) this.#emitUnanswered()
    this.#setState('refused')
    this.emit('refused', error)
    this.#goIfIdle()
  }

  #joined(connection: Connection, data: Joined, resumed: boolean): void {
    this.#line = connection
    this.#refusal = null
    this.#kind = data.kind
    this.#takeTitle(data.title)
    this.#role = data.role
    this.#takePresence(data.presence)
    if (!this.#takeContent(data.position, data.snapshot, data.ops ?? [], resumed)) {
      // The server knows less than this client, or left a gap: only the whole room helps.
      this.#position = null
      if (resumed) return this.#join(connection)
      const error = new EnfiladeError('malformed_frame', 'the answer to a join left a gap')
      this.host.report(error)
      return this.#joinLater(connection, error)
    }
    // What was answered on another line meanwhile is gone from the outbox; the rest is due here, in order.
    this.#outbox.moveTo(connection)
    this.#backoff = null
    this.#setState('joined')
    this.emit('joined', this)
    this.pump()
    this.#goIfIdle()
  }

  // ---- what happens in the room -----------------------------------------------------------------------------------

  /** Takes a snapshot, if there is one, and the ops that end at `position`. False if that leaves a gap. */
  #takeContent(position: Position, snapshot: Snapshot | undefined, ops: LoggedOp[], resumed: boolean): boolean {
    const first = position.seq - ops.length + 1
    if (snapshot || !resumed) this.#startFrom(snapshot ?? null, { epoch: position.epoch, seq: first - 1 })
    const known = this.#position?.seq ?? 0
    if (first > known + 1 || known > position.seq) return false
    this.#append(first, ops)
    this.#position = { ...position }
    return true
  }

  #startFrom(snapshot: Snapshot | null, position: Position): void {
    this.#position = snapshot ? { epoch: position.epoch, seq: snapshot.seq } : position
    this.#cached = null
    this.emit('reset', { snapshot })
  }

  #takeOps(line: Connection, { epoch, first_seq, ops }: ServerMessages['ops']): void {
    // Before the snapshot is there, or while it is asked for again, there is nothing to add to.
    if (!this.#position) return
    if (first_seq > this.#position.seq + 1) {
      if (!this.#joining) this.#join(line)
      return
    }
    const last = first_seq + ops.length - 1
    if (last <= this.#position.seq) return
    this.#append(first_seq, ops)
    this.#position = { epoch, seq: last }
    this.pump()
    this.#goIfIdle()
  }

  /** Skips what is known and hands on the rest. */
  #append(firstSeq: number, ops: LoggedOp[]): void {
    const known = this.#position!.seq
    const fresh = ops.slice(Math.max(0, known + 1 - firstSeq))
    if (fresh.length === 0) return
    const from = firstSeq + ops.length - fresh.length
    this.#cached = null
    this.#position = { epoch: this.#position!.epoch, seq: firstSeq + ops.length - 1 }
    this.#recognise(from, fresh)
    this.emit('ops', { firstSeq: from, ops: fresh })
  }

  /** An own op that comes back is as good as accepted, also if its answer was lost. */
  #recognise(firstSeq: number, ops: LoggedOp[]): void {
    ops.forEach((logged, i) => {
      if (this.isOwn(logged)) this.#accept(logged.op_id, firstSeq + i)
    })
  }

  /** Whether this client wrote it. The client's id alone says nothing: it is no secret, and others might use it. */
  isOwn({ author, client }: Pick<LoggedOp, 'author' | 'client'>): boolean {
    return client === this.host.id && author === this.host.user?.id
  }

  #takeReset(line: Connection, data: ServerMessages['reset']): void {
    if (this.#takeContent(data.position, data.snapshot, data.ops ?? [], false)) return
    this.#position = null
    if (!this.#joining) this.#join(line)
  }

  #takeSignals({ signals }: ServerMessages['signals']): void {
    const others = signals.filter((signal) => !this.isOwn(signal))
    if (others.length > 0 && this.#wanted) this.emit('signals', others)
  }

  #takeTitle(title: string): void {
    if (title === this.#title) return
    this.#title = title
    this.emit('renamed', title)
  }

  #takePresence({ count, members, joined, left }: Presence): void {
    const next = new Map(members ? [] : this.#presence.members)
    for (const id of left ?? []) next.delete(id)
    for (const member of [...(members ?? []), ...(joined ?? [])]) next.set(member.id, member)
    this.#presence = { count, members: next }
    this.emit('presence', this.#presence)
  }

  // ---- own ops ----------------------------------------------------------------------------------------------------

  #send(line: Connection, entry: Entry): void {
    const { opId, op } = entry
    this.#outbox.sentOn(line, entry)
    line.request('submit', { room: this.id, op_id: opId, op }, (reply) => {
      if (!(reply instanceof EnfiladeError)) {
        if (reply.type === 'accepted') this.#accept(opId, reply.data.seq)
      } else if (reply.code !== 'disconnected') this.#refused(line, entry, reply)
      else if (entry.line === line) entry.line = null
    })
  }

  #accept(opId: number, seq: number): void {
    const entry = this.#outbox.accepted(opId, seq)
    if (!entry) return
    this.host.forget([opId])
    for (const follower of this.#outbox.followers(entry)) {
      follower.write(seq)
      this.host.keep(this, follower)
    }
    this.emit('accepted', entry)
    this.#emitUnanswered()
    this.pump()
    this.#goIfIdle()
  }

  #refused(line: Connection, entry: Entry, error: EnfiladeError): void {
    // It was sent again elsewhere, where it will be answered.
    if (entry.line !== line) return
    if (error.code === 'token_expired') this.host.tokenExpired()
    if (error.code === 'not_joined' || error.code === 'token_expired') {
      // Not the op's fault: it goes again after the next join.
      this.#outbox.lost(line)
      if (line === this.#line && !this.#joining) this.#joinLater(line, error)
      if (this.#state === 'joined') this.#setState('joining')
      return
    }
    const { clock, random } = this.host
    const final = this.#outbox.refused(entry.opId, error, clock.now(), random())
    if (!final) return this.pump()
    this.host.forget([entry.opId])
    this.#emitRejected(final)
    this.#dropFollowers(final)
    this.#emitUnanswered()
    this.pump()
    this.#goIfIdle()
  }

  /** What was to be written with the seq of an op that has none makes no sense any more. */
  #dropFollowers(entry: Entry): void {
    const error = new EnfiladeError('withdrawn', 'the op that it builds on did not happen')
    for (const follower of this.#outbox.followers(entry)) this.#emitRejected(this.#outbox.drop(follower, error))
  }

  #refusesToSubmit(): EnfiladeError | null {
    if (this.state === 'left') return new EnfiladeError('closed', 'the room was left')
    if (this.#state === 'refused') return this.#refusal
    if (this.#outbox.size >= MOST_UNANSWERED) {
      return new EnfiladeError('queue_full', `${MOST_UNANSWERED} ops wait for an answer already`)
    }
    return null
  }

  #pumpAfter(ms: number): void {
    const { clock } = this.host
    clock.clearTimeout(this.#pumpAt)
    if (ms > 0) this.#pumpAt = clock.setTimeout(() => this.pump(), ms)
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------

  #useCache(cached: CachedRoom): void {
    this.#cached = cached
    this.#position = { epoch: cached.position.epoch, seq: cached.snapshot.seq }
  }

  #setState(state: RoomState): void {
    if (this.#state === state) return
    this.#state = state
    if (this.#wanted) this.emit('state', state)
  }

  #emitUnanswered(): void {
    this.emit('unanswered', this.#outbox.size)
  }

  #emitRejected(entry: Entry): void {
    this.emit('rejected', entry as Entry & { refusal: EnfiladeError })
  }

  /** Nobody listens and nothing is left to deliver. */
  #goIfIdle(): void {
    if (this.#wanted || this.#outbox.size > 0) return
    this.#line?.request('leave', { room: this.id }, () => {})
    const settled = this.#joining?.settled
    this.#line = this.#joining = null
    this.#state = 'left'
    this.host.left(this)
    settled?.()
  }
}

function both(first: () => void, second: () => void): () => void {
  return () => {
    first()
    second()
  }
}
