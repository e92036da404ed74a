/**
 * What happens on a board before it is an op: the strokes that people are drawing at this moment, and where they point.
 *
 * Any piece of a stroke may be lost or late, and its author may vanish; nothing here outlives its news for long.
 */

import type { CodecName } from './codec.js'
import { toQuarters, unzigzag, zigzag } from './points.js'
import type { Color, Json, Limits, Points, Pressure, Signal, Uuid } from './types.js'

/** A stroke that somebody else is drawing at this moment. */
export interface LiveStroke {
  readonly author: Uuid
  readonly client: Uuid
  readonly element: string
  readonly color: Color
  readonly width: number
  /** What has arrived of it so far. A later piece makes a new array. */
  readonly points: Points
  readonly pressure?: Pressure
}

/** Where somebody else's pointer is. */
export interface Cursor {
  readonly author: Uuid
  readonly client: Uuid
  readonly x: number
  readonly y: number
}

/** How often pieces and cursors are sent. */
export const TICK_MS = 40
/** A stroke that grows no more is told again after this long, so that a pen that rests does not look lost. */
export const KEEPALIVE_MS = 2_000
/** Strokes without news for this long are no longer shown. The room has closed them by then. */
export const STROKE_EXPIRY_MS = 8_000
/** Cursors without news for this long are no longer shown. */
export const CURSOR_EXPIRY_MS = 30_000
/** Points of one piece: even the longest are well within the bound of a signal. */
export const PIECE_POINTS = 256
const STROKES_MAX = 256
const ENDED_MAX = 512
const CURSORS_MAX = 512

// ---- one's own ---------------------------------------------------------------------------------------------------

/** Gathers the points of a pen, and hands them out piece by piece. Pure: it sends nothing and knows no time. */
export class StrokeBuilder {
  readonly #quarters: number[] = []
  readonly #pressure: number[] = []
  #sent = 0
  #bytes = 0

  constructor(
    readonly element: string,
    readonly color: Color,
    readonly width: number,
    readonly limits: Pick<Limits, 'stroke_points' | 'frame_bytes'>,
    readonly codec: CodecName = 'msgpack',
  ) {}

  get length(): number {
    return this.#quarters.length / 2
  }

  /** No further point fits into one op. */
  get full(): boolean {
    return this.length >= this.limits.stroke_points || this.#bytes > this.limits.frame_bytes - 1_024
  }

  get points(): Points {
    return Float32Array.from(this.#quarters, (quarters) => quarters / 4)
  }

  /** One for each point, or none at all. */
  get pressure(): Pressure | undefined {
    return this.#pressure.length > 0 && this.#pressure.length === this.length
      ? Uint8Array.from(this.#pressure)
      : undefined
  }

  /** A point in units; pressure 0 to 255. A point that rounds to the one before is left out. */
  add(x: number, y: number, pressure?: number): void {
    if (this.full || !Number.isFinite(x) || !Number.isFinite(y)) return
    const [quarterX, quarterY] = [toQuarters(x), toQuarters(y)]
    const end = this.#quarters.length
    const [lastX = 0, lastY = 0] = end > 0 ? this.#quarters.slice(-2) : []
    if (end > 0 && lastX === quarterX && lastY === quarterY) return
    this.#quarters.push(quarterX, quarterY)
    this.#bytes += this.#cost(quarterX - lastX, quarterX) + this.#cost(quarterY - lastY, quarterY)
    if (pressure === undefined) return
    this.#pressure.push(Math.min(255, Math.max(0, Math.round(pressure))))
    this.#bytes += this.codec === 'json' ? 4 : 2
  }

  /** What was added since the last piece, as the body of a signal; null if there is nothing new. */
  piece(): Json {
    if (this.#sent >= this.length) return null
    const until = Math.min(this.length, this.#sent + PIECE_POINTS)
    const piece = this.#piece(this.#sent, until)
    this.#sent = until
    return piece
  }

  /** The last point once more: a sign of life. */
  again(): Json {
    return this.length === 0 ? null : this.#piece(this.length - 1, this.length)
  }

  #piece(at: number, until: number): Json {
    const points: number[] = []
    const last = [0, 0]
    for (let i = 2 * at; i < 2 * until; i++) {
      points.push(zigzag(this.#quarters[i]! - last[i & 1]!))
      last[i & 1] = this.#quarters[i]!
    }
    const { element, color, width } = this
    const pressure = this.#pressure.length === this.length ? { pressure: this.#pressure.slice(at, until) } : {}
    return { element, color, width, at, points, ...pressure }
  }

  /** What a coordinate takes of a frame, at most. */
  #cost(difference: number, quarters: number): number {
    // In JSON each has a bracket and a comma beside it.
    if (this.codec === 'json') return String(quarters / 4).length + 2
    const code = zigzag(difference)
    return code < 2 ** 7 ? 1 : code < 2 ** 14 ? 2 : code < 2 ** 21 ? 3 : 4
  }
}

// ---- those of others ---------------------------------------------------------------------------------------------

interface Piece {
  at: number
  points: number[]
  pressure: number[] | undefined
}

interface Growing {
  stroke: LiveStroke
  pieces: Piece[]
  heardAt: number
}

/** Puts the strokes of others together from their pieces. */
export class LiveStrokes {
  readonly #growing = new Map<string, Growing>()
  readonly #strokes = new Map<string, LiveStroke>()
  /** Strokes that are finished or were taken back: pieces that come late must not revive them. */
  readonly #ended = new Set<string>()

  constructor(readonly pointsMax: number) {}

  get strokes(): ReadonlyMap<string, LiveStroke> {
    return this.#strokes
  }

  /** Takes a signal whose key is `stroke.…`. Returns the element whose stroke is another now. */
  take({ author, client, body }: Signal, now: number): string | undefined {
    const piece = readPiece(body)
    if (!piece || this.#ended.has(piece.element)) return undefined
    if (piece.cancel) return this.end(piece.element)
    const known = this.#growing.get(piece.element)
    // An element has one author; a second one does not paint over the first.
    if (known && known.stroke.client !== client) return undefined
    const pieces = insert(known?.pieces ?? [], piece)
    const length = pieces.reduce((sum, { points }) => sum + points.length / 2, 0)
    if (length > this.pointsMax) return undefined
    const { element, color, width } = piece
    const stroke: LiveStroke = { author, client, element, color, width, ...assembled(pieces) }
    this.#growing.set(element, { stroke, pieces, heardAt: now })
    this.#strokes.set(element, stroke)
    if (this.#growing.size > STROKES_MAX) this.#drop(this.#growing.keys().next().value!)
    return element
  }

  /** The stroke is finished, or was taken back. */
  end(element: string): string | undefined {
    this.#ended.add(element)
    if (this.#ended.size > ENDED_MAX) this.#ended.delete(this.#ended.values().next().value!)
    return this.#drop(element)
  }

  /** Drops the strokes that `gone` picks. */
  dropWhere(gone: (stroke: LiveStroke) => boolean): string[] {
    return [...this.#strokes.values()].filter(gone).map(({ element }) => this.#drop(element)!)
  }

  /**
   * Drops the strokes of those who left. Whoever was heard just now is there, whatever else is said: after a room has
   * moved, the list of its people may be incomplete for a moment.
   */
  dropLeft(left: (stroke: LiveStroke) => boolean, now: number): string[] {
    return this.dropWhere((stroke) => left(stroke) && now - this.#growing.get(stroke.element)!.heardAt > KEEPALIVE_MS)
  }

  expire(now: number): string[] {
    return this.dropWhere(({ element }) => now - this.#growing.get(element)!.heardAt >= STROKE_EXPIRY_MS)
  }

  #drop(element: string): string | undefined {
    this.#growing.delete(element)
    return this.#strokes.delete(element) ? element : undefined
  }
}

/** Where others point, by client. */
export class Cursors {
  readonly #cursors = new Map<Uuid, Cursor>()
  readonly #heardAt = new Map<Uuid, number>()

  get all(): ReadonlyMap<Uuid, Cursor> {
    return this.#cursors
  }

  /** Takes a signal whose key is `cursor`. Returns whether anything is different now. */
  take({ author, client, body }: Signal, now: number): boolean {
    const { x, y } = Object(body) as { x?: unknown; y?: unknown }
    if (typeof x !== 'number' || typeof y !== 'number') return this.#drop(client)
    this.#cursors.set(client, { author, client, x, y })
    this.#heardAt.set(client, now)
    if (this.#cursors.size > CURSORS_MAX) this.#drop(this.#cursors.keys().next().value!)
    return true
  }

  dropWhere(gone: (cursor: Cursor) => boolean): boolean {
    return [...this.#cursors.values()].filter(gone).filter(({ client }) => this.#drop(client)).length > 0
  }

  expire(now: number): boolean {
    return this.dropWhere(({ client }) => now - this.#heardAt.get(client)! >= CURSOR_EXPIRY_MS)
  }

  #drop(client: Uuid): boolean {
    this.#heardAt.delete(client)
    return this.#cursors.delete(client)
  }
}

type ReadPiece = { element: string; color: Color; width: number } & Piece & { cancel: boolean }

/** What somebody else sent: anything may stand in it. */
function readPiece(body: Json): ReadPiece | null {
  const { element, color, width, at, points, pressure, cancel } = Object(body) as Record<string, unknown>
  if (typeof element !== 'string') return null
  if (cancel === true) return { element, color: '', width: 0, at: 0, points: [], pressure: undefined, cancel }
  const plain = typeof color === 'string' && typeof width === 'number' && Number.isInteger(at) && (at as number) >= 0
  if (!plain || !isNumbers(points) || points.length % 2 !== 0 || points.length === 0) return null
  const pressed = isNumbers(pressure) && pressure.length === points.length / 2 ? pressure : undefined
  return { element, color, width, at: at as number, points: decoded(points), pressure: pressed, cancel: false }
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

/** From differences in quarters to units. */
function decoded(points: number[]): number[] {
  const last = [0, 0]
  return points.map((code, i) => (last[i & 1]! += unzigzag(code)) / 4)
}

/** Puts a piece in its place, without what is known already: pieces may come late or twice. */
function insert(pieces: Piece[], piece: Piece): Piece[] {
  const last = pieces.at(-1)
  if (!last || piece.at >= endOf(last)) return [...pieces, piece]
  const fresh = pieces.reduce((rest, known) => rest.flatMap((part) => without(part, known)), [piece])
  return [...pieces, ...fresh].sort((a, b) => a.at - b.at)
}

function endOf(piece: Piece): number {
  return piece.at + piece.points.length / 2
}

function without(piece: Piece, known: Piece): Piece[] {
  const [from, to] = [known.at, endOf(known)]
  return [slice(piece, piece.at, Math.min(endOf(piece), from)), slice(piece, Math.max(piece.at, to), endOf(piece))].filter(
    ({ points }) => points.length > 0,
  )
}

function slice({ at, points, pressure }: Piece, from: number, to: number): Piece {
  const [start, end] = [from - at, Math.max(from, to) - at]
  return { at: from, points: points.slice(2 * start, 2 * end), pressure: pressure?.slice(start, end) }
}

/** A lost piece is bridged by a straight line. */
function assembled(pieces: readonly Piece[]): { points: Points; pressure?: Pressure } {
  const points = Float32Array.from(pieces.flatMap((piece) => piece.points))
  if (!pieces.every(({ pressure }) => pressure)) return { points }
  return { points, pressure: Uint8Array.from(pieces.flatMap((piece) => piece.pressure!)) }
}
