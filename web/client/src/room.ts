/**
 * A room as this client sees it: joined, and joined again, on one connection or from one to the next. Its history, its
 * own ops on their way, its presence and its signals are each kept by a part of their own; the room leads messages to
 * them and tells the application.
 */

import type { Connection, Reply } from './connection.js'
import { Delivery, type Rejected } from './delivery.js'
import { EnfiladeError, invitesRetry } from './errors.js'
import { Emitter } from './events.js'
import { type CachedRoom, History } from './history.js'
import { Joining } from './joining.js'
import type { Submission } from './outbox.js'
import { NOBODY, type RoomPresence, updated } from './presence.js'
import type { RoomHost } from './room-host.js'
import { SignalSender } from './signal-lane.js'
import type { StoredOp } from './store.js'
import type {
  Joined,
  Json,
  LoggedOp,
  Op,
  Position,
  Presence,
  Role,
  RoomKind,
  ServerMessage,
  ServerMessages,
  Signal,
  Snapshot,
  Uuid,
} from './types.js'

export type { CachedRoom } from './history.js'
export type { Submission } from './outbox.js'
export type { RoomPresence } from './presence.js'

export interface JoinOptions {
  /** The secret of a share link, or the whole link. */
  link?: string
  /** What is known of the room from before; the server then sends only what is missing. */
  cached?: CachedRoom
  /** Fetch the snapshot over HTTP first, where caches may have it, and join from there. For crowds. */
  snapshotFrom?: 'http'
}

/** `joining` is also the state of a room whose connection was lost: it joins again by itself. */
export type RoomState = 'joining' | 'joined' | 'refused' | 'left'

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
  rejected: Rejected
}

/** What the server says of a room without being asked. */
export type RoomMessage = Extract<ServerMessage, { type: 'ops' | 'signals' | 'presence' | 'reset' | 'renamed' }>

/** Refusals of a join that are not for good. */
const AGAIN: ReadonlySet<string> = new Set(['token_expired', 'internal'])

export class Room extends Emitter<RoomEvents> {
  readonly id: Uuid
  readonly host: RoomHost
  readonly #joining: Joining
  readonly #history: History
  readonly #delivery: Delivery
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
  /** The connection through which the room is joined now. */
  #line: Connection | null = null
  /** It is about to get a state to begin with, and does not join before. */
  #held = false

  /** Made by `Client.join`. */
  constructor(host: RoomHost, id: Uuid, options: JoinOptions, wanted: boolean) {
    super()
    this.host = host
    this.id = id
    this.#joining = new Joining(host.clock, host.random)
    this.#history = new History({
      startedFrom: (snapshot) => this.emit('reset', { snapshot }),
      continued: (firstSeq, ops) => this.#continued(firstSeq, ops),
    })
    this.#delivery = this.#deliver()
    this.#signals = new SignalSender(id, host.clock, (error) => host.report(error))
    this.#link = options.link
    this.#wanted = wanted
    if (options.cached) this.#history.beginWith(options.cached)
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
    return this.#history.position
  }

  get presence(): RoomPresence {
    return this.#presence
  }

  /** How many own ops wait for their answer. */
  get unanswered(): number {
    return this.#delivery.size
  }

  /** Own ops that wait for their answer, in order. */
  get submissions(): readonly Submission[] {
    return this.#delivery.submissions
  }

  get link(): string | undefined {
    return this.#link
  }

  /** What the room was joined with, for whoever keeps its state, until something newer has come. */
  get cached(): CachedRoom | null {
    return this.#history.cached
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
    return this.#delivery.submit(op)
  }

  /**
   * An op that is written with the seq of another one that is on its way. It keeps its place: what comes behind it waits.
   * If the other one is refused, so is this.
   */
  enqueueAfter(first: Submission, write: (seq: number) => Op): Submission {
    return this.#delivery.submitAfter(first, write)
  }

  /** Takes an op back if it cannot have reached the server. */
  withdraw(submission: Submission): boolean {
    return this.#delivery.withdraw(submission)
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
    this.#history.forget()
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
    return this.#joining.on ?? this.#line
  }

  /** The application asked for the room (again). */
  want(options: JoinOptions): void {
    const link = options.link ?? this.#link
    const again = link !== this.#link || this.#state === 'refused'
    const returned = !this.#wanted
    this.#link = link
    this.#wanted = true
    if (options.cached && !this.position) this.#history.beginWith(options.cached)
    if (this.#state === 'refused') this.#setState('joining')
    else if (returned) this.emit('state', this.#state)
    const line = this.#joining.on ?? this.host.connection
    if (again && line?.ready && !this.#held) this.#join(line)
  }

  /** Ops that were left unanswered by an earlier holder of the queue. */
  restore(stored: readonly StoredOp[]): void {
    this.#link ??= stored.find(({ link }) => link !== undefined)?.link
    this.#delivery.restore(stored)
  }

  /** The client has another id. */
  rename(): void {
    this.#delivery.rename()
  }

  /** Does not join before `release`. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
  }

  /** What is known of the room from elsewhere. */
  beginWith(cached: CachedRoom): void {
    if (this.position) return
    this.#history.beginWith(cached)
    this.emit('reset', { snapshot: cached.snapshot })
  }

  /** Joins on a connection that is ready. The room stays on its present line until the answer is there. */
  attach(connection: Connection, settled: () => void = () => {}): void {
    if (this.#state === 'refused' || this.#held) return settled()
    this.#join(connection, settled)
  }

  /** The connection is gone, and whoever waited for an answer from it knows. */
  detach(connection: Connection): void {
    this.#joining.lost(connection)
    if (this.#line !== connection) return
    this.#line = null
    this.#signals.clear()
    if (this.#state === 'joined') this.#setState('joining')
  }

  /** What is known of the room is not the truth any more. */
  forgetState(): void {
    this.#history.forget()
  }

  /** Nothing will be answered any more. */
  close(error: EnfiladeError): void {
    this.#joining.stop()
    this.#signals.stop()
    this.#line = null
    this.#delivery.close(error)
    if (this.#state !== 'refused') this.#setState('left')
  }

  /** Something may be sent that could not be sent before. */
  pump(): void {
    this.#delivery.pump()
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
    if (line === this.#line && this.position && this.position.seq < seq) this.#catchUp(line)
  }

  /** Makes the server say something, and catches up if there is anything to catch up with. */
  check(): boolean {
    if (!this.#line || this.#joining.on) return false
    this.#join(this.#line)
    return true
  }

  // ---- joining ----------------------------------------------------------------------------------------------------

  #join(connection: Connection, settled: () => void = () => {}): void {
    const since = this.position
    const request = {
      room: this.id,
      ...(this.#link !== undefined && { link: this.#link }),
      ...(since && { since: { ...since } }),
    }
    this.#joining.ask(connection, request, settled, (reply, settled) => {
      this.#answered(connection, reply, since !== null, settled)
    })
  }

  #answered(connection: Connection, reply: Reply, resumed: boolean, settled: () => void): void {
    if (reply instanceof EnfiladeError) {
      if (reply.code === 'token_expired') this.host.tokenExpired()
      // Until then the room stays where it is joined.
      if (invitesRetry(reply) || AGAIN.has(reply.code)) return this.#joinLater(connection, reply, settled)
      this.#refuse(reply)
    } else if (reply.type === 'joined') this.#joined(connection, reply.data, resumed)
    settled()
  }

  #joinLater(connection: Connection, error: EnfiladeError, settled: () => void = () => {}): void {
    this.#joining.later(connection, error, settled, (settled) => {
      if (this.#state !== 'left') this.#join(connection, settled)
    })
  }

  /** Something was missed: the answer to another join has it. */
  #catchUp(line: Connection): void {
    if (!this.#joining.on) this.#join(line)
  }

  #refuse(error: EnfiladeError): void {
    this.#refusal = error
    this.#line = null
    this.#role = null
    this.#signals.clear()
    this.#takePresence({ count: 0, members: [] })
    this.#delivery.refuseAll(error)
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
    if (!this.#history.take(data, resumed)) {
      // The server knows less than this client, or left a gap: only the whole room helps.
      if (resumed) return this.#join(connection)
      const error = new EnfiladeError('malformed_frame', 'the answer to a join left a gap')
      this.host.report(error)
      return this.#joinLater(connection, error)
    }
    this.#delivery.moveTo(connection)
    this.#joining.succeeded()
    this.#setState('joined')
    this.emit('joined', this)
    this.pump()
    this.#goIfIdle()
  }

  // ---- what happens in the room -----------------------------------------------------------------------------------

  #takeOps(line: Connection, { epoch, first_seq, ops }: ServerMessages['ops']): void {
    const added = this.#history.add(epoch, first_seq, ops)
    if (added === 'gap') return this.#catchUp(line)
    if (added === 'known') return
    this.pump()
    this.#goIfIdle()
  }

  #continued(firstSeq: number, ops: LoggedOp[]): void {
    // An own op that comes back is as good as accepted, also if its answer was lost.
    ops.forEach((logged, i) => {
      if (this.isOwn(logged)) this.#delivery.accept(logged.op_id, firstSeq + i)
    })
    this.emit('ops', { firstSeq, ops })
  }

  /** Whether this client wrote it. The client's id alone says nothing: it is no secret, and others might use it. */
  isOwn({ author, client }: Pick<LoggedOp, 'author' | 'client'>): boolean {
    return client === this.host.id && author === this.host.user?.id
  }

  #takeReset(line: Connection, data: ServerMessages['reset']): void {
    if (!this.#history.take(data, false)) this.#catchUp(line)
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

  #takePresence(presence: Presence): void {
    this.#presence = updated(this.#presence, presence)
    this.emit('presence', this.#presence)
  }

  // ---- own ops ----------------------------------------------------------------------------------------------------

  #deliver(): Delivery {
    return new Delivery(this, {
      line: () => (this.#line?.ready && this.#state === 'joined' ? this.#line : null),
      closed: () => this.#closedToOps(),
      shutOut: (line, error) => this.#shutOut(line, error),
      submitted: (submission) => this.emit('submitted', submission),
      accepted: (submission) => this.emit('accepted', submission),
      rejected: (submission) => this.emit('rejected', submission),
      unanswered: (count) => this.emit('unanswered', count),
      settled: () => this.#goIfIdle(),
    })
  }

  #closedToOps(): EnfiladeError | null {
    if (this.state === 'left') return new EnfiladeError('closed', 'the room was left')
    return this.#state === 'refused' ? this.#refusal : null
  }

  /** The server does not count this client among the members any more. */
  #shutOut(line: Connection, error: EnfiladeError): void {
    if (line === this.#line && !this.#joining.on) this.#joinLater(line, error)
    if (this.#state === 'joined') this.#setState('joining')
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------

  #setState(state: RoomState): void {
    if (this.#state === state) return
    this.#state = state
    if (this.#wanted) this.emit('state', state)
  }

  /** Nobody listens and nothing is left to deliver. */
  #goIfIdle(): void {
    if (this.#wanted || this.#delivery.size > 0) return
    this.#line?.request('leave', { room: this.id }, () => {})
    this.#line = null
    const settled = this.#joining.abandon()
    this.#state = 'left'
    this.host.left(this)
    settled()
  }
}
