/**
 * A board: what the room has confirmed, with the person's own unanswered ops on top; their undo and redo; and what
 * others are doing on it right now.
 */

import { BoardState, type ChangeSet, deletedBy, type View } from './board-state.js'
import { EnfiladeError } from './errors.js'
import { Emitter, type Unsubscribe } from './events.js'
import { randomId } from './ids.js'
import { type Cursor, Cursors, type LiveStroke, LiveStrokes, StrokeBuilder, TICK_MS } from './live.js'
import { normalOp } from './normal.js'
import { Overlay, type OwnOp } from './overlay.js'
import { Pen } from './pen.js'
import { isThere, Pile } from './pile.js'
import { roundUnits } from './points.js'
import type { CachedRoom, Room, RoomPresence, Submission } from './room.js'
import { sameElement } from './same.js'
import type { BoardOp, Color, Element, Json, LoggedOp, Signal, Snapshot, Uuid } from './types.js'
import { History, oppositeOf, opsFor, type Part, type Step } from './undo.js'

export interface BoardEvents {
  /** Repaint these. */
  change: ChangeSet
  /** Live strokes of others came, grew or went: these, by element id. */
  live: ReadonlySet<string>
  /** Cursors of others, by client id. */
  cursors: ReadonlyMap<Uuid, Cursor>
  history: { canUndo: boolean; canRedo: boolean }
  /** An own op was refused and is no longer shown. */
  rejected: { op: BoardOp; error: EnfiladeError }
}

/** An own op that the room has not confirmed. */
interface Pending extends OwnOp {
  readonly submission: Submission
}

/** Of so many own ops the places are foretold anew when others come in between. */
const FORETOLD_MAX = 100
const NOBODY = '00000000-0000-0000-0000-000000000000'
const EXPIRY_CHECK_MS = 1_000

/** Made from a room of kind `board`, at once: `new Board(client.join(id, { link }))`. */
export class Board extends Emitter<BoardEvents> {
  readonly room: Room
  readonly #state = new BoardState()
  readonly #overlay = new Overlay(this.#state)
  readonly #pile = new Pile()
  readonly #history = new History()
  readonly #live: LiveStrokes
  readonly #cursors = new Cursors()
  readonly #subscriptions: Unsubscribe[]
  /** Own ops that the room has not confirmed, in order. */
  #pending: Pending[] = []
  /** Whether the room's content has come, from the server or from a cache. */
  #loaded = false
  /** A reset may start before what was seen already: what is compared when `until` is reached again. */
  #unseen: { until: number; compare(view: View): void } | null = null
  readonly #pens = new Set<Pen>()
  #pieces = 0
  #pointer: { at: { x: number; y: number } | null } | null = null
  #ticking: unknown
  #tickedAt = -TICK_MS
  #expiry: unknown
  #shown = { canUndo: false, canRedo: false }

  constructor(room: Room) {
    super()
    this.room = room
    this.#live = new LiveStrokes(room.host.limits.stroke_points)
    this.#subscriptions = [
      room.on('reset', ({ snapshot }) => this.#reset(snapshot)),
      room.on('ops', ({ firstSeq, ops }) => this.#confirm(firstSeq, ops)),
      room.on('submitted', (submission) => this.#submitted(submission)),
      room.on('accepted', (submission) => this.#accepted(submission)),
      room.on('rejected', (submission) => this.#rejected(submission, submission.refusal)),
      room.on('signals', (signals) => this.#takeSignals(signals)),
      room.on('presence', (presence) => this.#takePresence(presence)),
    ]
    for (const submission of room.submissions) this.#submitted(submission)
    if (room.cached) this.#reset(room.cached.snapshot)
    else if (room.position) room.refetch()
  }

  // ---- what is to be seen -----------------------------------------------------------------------------------------

  /** Whether there is anything to show yet. An empty board is loaded, too. */
  get loaded(): boolean {
    return this.#loaded
  }

  /** The element as it is to be seen, own unanswered ops included; undefined if it is not on the board. */
  view(id: string): Element | undefined {
    return visible(this.#overlay.get(id))
  }

  /** All that is to be seen, the lowest first. The array changes with the board: read it, do not keep it. */
  elements(): readonly Element[] {
    return this.#pile.elements
  }

  /** Whether own unanswered ops touch this element. */
  isPending(id: string): boolean {
    return this.#overlay.has(id)
  }

  /** The strokes that others are drawing, by element. */
  get live(): ReadonlyMap<string, LiveStroke> {
    return this.#live.strokes
  }

  /** Where others point, by client. */
  get cursors(): ReadonlyMap<Uuid, Cursor> {
    return this.#cursors.all
  }

  /** What `Client.join` takes as `cached` on a later visit; null while there is nothing confirmed. */
  cache(): CachedRoom | null {
    const { position } = this.room
    if (!this.#loaded || !position) return null
    return { position: { epoch: position.epoch, seq: this.#state.seq }, snapshot: this.#state.snapshot() }
  }

  // ---- what one does ----------------------------------------------------------------------------------------------

  /**
   * Does something; it is seen at once. Several ops together are one step of undo. Resolves with the seq of the last op
   * when it is on disk; rejects when one was refused, which is then no longer seen.
   */
  submit(...ops: BoardOp[]): Promise<number> {
    let normal: BoardOp[]
    try {
      normal = ops.map(normalOp)
    } catch (error) {
      return Promise.reject(error as EnfiladeError)
    }
    const done = normal.map((op) => this.#perform(op))
    this.#history.record(done.flatMap(({ part }) => part ?? []))
    this.#emitHistory()
    const result = Promise.all(done.map(({ submission }) => submission.result))
      .then((seqs) => seqs.at(-1) ?? this.#state.seq)
    // Need not be listened to: `rejected` tells as well.
    result.catch(() => {})
    return result
  }

  get canUndo(): boolean {
    return this.#history.undo.length > 0
  }

  get canRedo(): boolean {
    return this.#history.redo.length > 0
  }

  /** Takes the last step back, as far as others have not changed it since. */
  undo(): void {
    this.#turn(this.#history.undo, this.#history.redo)
  }

  /** Takes the last undo back. */
  redo(): void {
    this.#turn(this.#history.redo, this.#history.undo)
  }

  /** Pen down: others see the stroke while it grows. */
  pen(style: { color: Color; width: number; element?: string }): Pen {
    const { codec, clock, limits } = this.room.host
    const builder = new StrokeBuilder(style.element ?? randomId(), style.color, style.width, limits, codec)
    const pen = new Pen(builder, {
      now: () => clock.now(),
      signal: (body) => this.#signalPiece(body),
      wake: () => this.#tickSoon(),
      submit: (data) => this.submit({ type: 'add_stroke', data }),
      lifted: (pen) => void this.#pens.delete(pen),
    })
    this.#pens.add(pen)
    return pen
  }

  /** Shows others where the pointer is; null when it has left the board. */
  cursor(at: { x: number; y: number } | null): void {
    this.#pointer = { at: at && { x: roundUnits(at.x), y: roundUnits(at.y) } }
    this.#tickSoon()
  }

  /** Leaves the room. Own ops that are still unanswered are delivered all the same. */
  close(): void {
    for (const pen of [...this.#pens]) void pen.finish().catch(() => {})
    for (const unsubscribe of this.#subscriptions) unsubscribe()
    const { clock } = this.room.host
    clock.clearTimeout(this.#ticking)
    clock.clearTimeout(this.#expiry)
    this.room.leave()
  }

  // ---- what the room says -----------------------------------------------------------------------------------------

  #reset(snapshot: Snapshot | null): void {
    this.#unseen ??= { until: this.#state.seq, ...this.#history.remember(this.#overlay) }
    this.#state.load(snapshot)
    this.#loaded = true
    this.#drop((submission) => this.#isConfirmed(submission))
    this.#foretell()
    // Those from before the first welcome had none.
    for (const pending of this.#pending) pending.author = this.#author
    this.#overlay.refreshAll()
    this.#pile.rebuild(this.#overlay.all())
    this.#compareUnseen()
    this.emit('change', { all: true, ids: new Set() })
    this.#endLive(this.#live.strokes.keys())
  }

  #confirm(firstSeq: number, ops: LoggedOp[]): void {
    if (!this.#loaded) return
    const before = new Map<string, Element | undefined>()
    const own = new Set<number>()
    ops.forEach(({ op, author, client, op_id }, i) => {
      if (this.room.isOwn({ author, client })) own.add(op_id)
      // What was seen before a reset is no news.
      else if (firstSeq + i > (this.#unseen?.until ?? 0)) this.#history.othersDid(op, this.#overlay)
      this.#state.apply(op, { seq: firstSeq + i, author }, before)
    })
    this.#look(before, () => [...this.#drop(({ opId }) => own.has(opId)), ...this.#foretell()])
    this.#compareUnseen()
    this.#endLive(before.keys())
  }

  /** Once the board is where it was before a reset, what is different is what others have changed in the dark. */
  #compareUnseen(): void {
    if (!this.#unseen || this.#state.seq < this.#unseen.until) return
    this.#unseen.compare(this.#overlay)
    this.#unseen = null
  }

  #submitted(submission: Submission): void {
    const seq = submission.seq ?? (this.#pending.at(-1)?.seq ?? this.#state.seq) + 1
    const pending: Pending = { submission, op: submission.op, seq, author: this.#author }
    if (submission.after) pending.op = restoration(this.#seqOf(submission.after))
    this.#pending.push(pending)
    this.#look(new Map(), () => this.#overlay.push(pending))
  }

  /** Normally the op itself comes, before or after; not if a snapshot has it. */
  #accepted(submission: Submission): void {
    const confirmed = (other: Submission): boolean => other === submission && this.#isConfirmed(other)
    this.#look(new Map(), () => [...this.#settle(submission), ...this.#drop(confirmed)])
  }

  #rejected(submission: Submission, error: EnfiladeError): void {
    this.#look(new Map(), () => this.#drop((other) => other === submission))
    this.#history.forget(submission)
    if (error.code !== 'withdrawn') this.emit('rejected', { op: submission.op, error })
    this.#emitHistory()
  }

  #takeSignals(signals: Signal[]): void {
    const now = this.room.host.clock.now()
    const changed = new Set<string>()
    let pointed = false
    for (const signal of signals) {
      if (signal.key === 'cursor') pointed = this.#cursors.take(signal, now) || pointed
      if (signal.key.startsWith('stroke.')) this.#takePiece(signal, now, changed)
    }
    if (changed.size > 0) this.emit('live', changed)
    if (pointed) this.emit('cursors', this.cursors)
    this.#checkExpirySoon()
  }

  #takePiece(signal: Signal, now: number, changed: Set<string>): void {
    const id = this.#live.take(signal, now)
    if (id === undefined) return
    // The stroke itself may have overtaken its last pieces.
    if (this.#state.elements.has(id)) this.#live.end(id)
    changed.add(id)
  }

  #takePresence({ count, members }: RoomPresence): void {
    // Where not all are listed, nobody is known to have left.
    if (members.size < count) return
    const left = ({ author }: { author: Uuid }): boolean => !members.has(author)
    this.#emitLive(this.#live.dropLeft(left, this.room.host.clock.now()))
    if (this.#cursors.dropWhere(left)) this.emit('cursors', this.cursors)
  }

  // ---- own ops above the confirmed ones ---------------------------------------------------------------------------

  /**
   * Finds out what is seen differently, and says so. `before` is what confirmed elements were that have changed; `change`
   * changes own ops and says which elements they concern.
   */
  #look(before: ReadonlyMap<string, Element | undefined>, change: () => Iterable<string>): void {
    const overlay = this.#overlay
    const was = new Map<string, Element | undefined>()
    for (const [id, element] of before) was.set(id, overlay.has(id) ? overlay.get(id) : element)
    for (const id of change()) if (!was.has(id)) was.set(id, overlay.get(id))
    overlay.refresh(was.keys())
    const changes: [Element | undefined, Element | undefined][] = []
    const ids = new Set<string>()
    for (const [id, element] of was) {
      const [then, now] = [visible(element), this.view(id)]
      if (then === now) continue
      changes.push([then, now])
      if (!sameElement(then, now)) ids.add(id)
    }
    this.#pile.update(changes)
    if (ids.size > 0) this.emit('change', { all: false, ids })
  }

  /** Takes own ops out of the layer. Returns which elements they concern. */
  #drop(which: (submission: Submission) => boolean): string[] {
    const gone = this.#pending.filter(({ submission }) => which(submission))
    if (gone.length === 0) return []
    this.#pending = this.#pending.filter(({ submission }) => !which(submission))
    return gone.flatMap((pending) => [...this.#overlay.remove(pending)])
  }

  /** The place of an op is known now, and with it what waits for it. Returns which elements may be seen differently. */
  #settle(submission: Submission): Iterable<string> {
    const seq = submission.seq!
    const ids = new Set<string>()
    const add = (more: Iterable<string>): void => {
      for (const id of more) ids.add(id)
    }
    for (const pending of this.#pending) {
      if (pending.submission === submission && pending.seq !== seq) {
        add(this.#overlay.concernedBy(pending))
        pending.seq = seq
      }
      // A restoration that waited has its own op now.
      if (pending.op === pending.submission.op || pending.submission.after) continue
      add(this.#overlay.concernedBy(pending))
      pending.op = pending.submission.op
      add(deletedBy(this.#overlay, seq))
    }
    return ids
  }

  /** Own ops come after all that is confirmed. Returns which elements may be seen differently. */
  #foretell(): Iterable<string> {
    const foretold = this.#state.seq + 1
    const [first] = this.#pending
    // With so many on their way a queue is being delivered, and they are soon in their place anyway.
    if (!first || first.seq === foretold || this.#pending.length > FORETOLD_MAX) return []
    this.#pending.forEach((pending, i) => (pending.seq = pending.submission.seq ?? foretold + i))
    for (const pending of this.#pending) {
      if (pending.submission.after) pending.op = restoration(this.#seqOf(pending.submission.after))
    }
    return this.#overlay.ids()
  }

  /** The place of an op in the history, known or foretold. */
  #seqOf(submission: Submission): number {
    return submission.seq ?? this.#pending.find((pending) => pending.submission === submission)?.seq ?? 0
  }

  get #author(): Uuid {
    return this.room.host.user?.id ?? NOBODY
  }

  #isConfirmed({ seq }: Submission): boolean {
    return seq !== null && seq <= this.#state.seq
  }

  // ---- undo and redo ----------------------------------------------------------------------------------------------

  #perform(op: BoardOp): { submission: Submission; part: Part | null } {
    const opposite = oppositeOf(op, this.#overlay)
    const submission = this.room.enqueue(op)
    return { submission, part: opposite && !submission.refusal ? { opposite, submission } : null }
  }

  #turn(from: Step[], to: Step[]): void {
    for (let step = from.pop(); step; step = from.pop()) {
      const done = [...step.parts].reverse().flatMap((part) => this.#takeBack(part, step.overtaken))
      // A step that others have overtaken altogether is skipped: something should happen.
      if (done.length === 0) continue
      this.#history.push(to, done)
      break
    }
    this.#emitHistory()
  }

  #takeBack({ opposite, submission }: Part, overtaken: ReadonlySet<string>): Part[] {
    if (opposite.kind === 'restore') return this.#bringBack(submission!)
    const ops = opsFor(opposite, overtaken, this.#overlay, this.room.host.limits.elements_per_op)
    const done = ops.map((op) => this.#perform(op))
    if (opposite.kind === 'delete' && opposite.again !== undefined) {
      this.#history.succeed(opposite.again, done.map(({ submission }) => submission))
    }
    return done.flatMap(({ part }) => part ?? [])
  }

  /** The opposite of a deletion needs its seq. One that was never sent is taken back instead. */
  #bringBack(deletion: Submission): Part[] {
    if (deletion.refusal) return []
    if (this.room.withdraw(deletion)) {
      this.#look(new Map(), () => this.#drop((other) => other === deletion))
      return [{ opposite: { kind: 'op', op: deletion.op }, submission: null }]
    }
    const opposite = oppositeOf(restoration(this.#seqOf(deletion)), this.#overlay)
    if (!opposite) return []
    const submission = this.room.enqueueAfter(deletion, restoration)
    return submission.refusal ? [] : [{ opposite, submission }]
  }

  #emitHistory(): void {
    const { canUndo, canRedo } = this
    if (canUndo === this.#shown.canUndo && canRedo === this.#shown.canRedo) return
    this.#shown = { canUndo, canRedo }
    this.emit('history', this.#shown)
  }

  // ---- of the moment ----------------------------------------------------------------------------------------------

  #signalPiece(body: Json): void {
    // Counted over all strokes, because the latest signal of a key replaces the one before.
    this.room.signal(`stroke.${this.#pieces++}`, body)
  }

  #tickSoon(): void {
    if (this.#ticking !== undefined) return
    const { clock } = this.room.host
    const wait = Math.max(0, this.#tickedAt + TICK_MS - clock.now())
    this.#ticking = clock.setTimeout(() => this.#tick(), wait)
  }

  #tick(): void {
    this.#ticking = undefined
    this.#tickedAt = this.room.host.clock.now()
    for (const pen of this.#pens) pen.tick()
    if (this.#pointer) this.room.signal('cursor', this.#pointer.at)
    this.#pointer = null
    if (this.#pens.size > 0) this.#tickSoon()
  }

  #checkExpirySoon(): void {
    if (this.#expiry !== undefined || (this.live.size === 0 && this.cursors.size === 0)) return
    const { clock } = this.room.host
    this.#expiry = clock.setTimeout(() => {
      this.#expiry = undefined
      this.#emitLive(this.#live.expire(clock.now()))
      if (this.#cursors.expire(clock.now())) this.emit('cursors', this.cursors)
      this.#checkExpirySoon()
    }, EXPIRY_CHECK_MS)
  }

  /** What is on the board is live no more. */
  #endLive(ids: Iterable<string>): void {
    const ended: string[] = []
    for (const id of [...ids]) {
      if (this.#live.strokes.has(id) && this.#state.elements.has(id) && this.#live.end(id) !== undefined) ended.push(id)
    }
    this.#emitLive(ended)
  }

  #emitLive(ids: readonly string[]): void {
    if (ids.length > 0) this.emit('live', new Set(ids))
  }
}

function visible(element: Element | undefined): Element | undefined {
  return element && isThere(element) ? element : undefined
}

function restoration(deleted_by: number): BoardOp {
  return { type: 'restore', data: { deleted_by } }
}
