/**
 * The words of the protocol as types: ids, ops, elements, messages.
 *
 * Names are those on the wire. Points and pressure are kept flat and typed, because a board holds millions of them; the
 * codecs translate (JSON has pairs of numbers, MessagePack coded bytes).
 */

/** A UUID as text, in lower case. */
export type Uuid = string

/** A point of the plane in units (CSS pixels at 100 %), x to the right, y down, whole quarters. */
export type Point = [x: number, y: number]

/** `[x, y, width, height]` */
export type Bounds = [x: number, y: number, width: number, height: number]

/**
 * The points of a stroke: x and y in turn, in units, so `points.length / 2` of them. Made with `toPoints([[1, 2], …])`.
 * Quarters within ±1,000,000 are exact in 32 bits.
 */
export type Points = Float32Array

/** How hard the pen was pressed, 0 to 255, one for each point. */
export type Pressure = Uint8Array

/** `#rrggbb` or `#rrggbbaa` */
export type Color = string

export type RoomKind = 'board' | 'document' | 'chat' | 'thread'
export type Role = 'viewer' | 'editor' | 'owner'

/** Where one stands in a room: everything through `seq` is known. */
export interface Position {
  epoch: number
  seq: number
}

export interface User {
  id: Uuid
  name: string
  guest: boolean
}

export interface Member {
  id: Uuid
  name: string
  role: Role
}

/** The bounds a client keeps, as the server tells them in `welcome`. */
export interface Limits {
  frame_bytes: number
  messages_per_frame: number
  rooms: number
  ops_in_flight: number
  ops_per_second: number
  signals_per_second: number
  signal_bytes: number
  stroke_points: number
  elements_per_op: number
  text_chars: number
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  frame_bytes: 65_536,
  messages_per_frame: 256,
  rooms: 128,
  ops_in_flight: 256,
  ops_per_second: 100,
  signals_per_second: 100,
  signal_bytes: 4_096,
  stroke_points: 20_000,
  elements_per_op: 2_000,
  text_chars: 4_000,
}

// ---- what stands on a board --------------------------------------------------------------------------------------

export interface StrokeData {
  element: string
  color: Color
  width: number
  points: Points
  pressure?: Pressure
}

export interface LineData {
  element: string
  color: Color
  width: number
  from: Point
  to: Point
}

export interface AreaData {
  element: string
  color: Color
  width: number
  bounds: Bounds
  /** Absent, or `#00000000`, is not filled. */
  fill?: Color
}

export interface TextData {
  element: string
  color: Color
  size: number
  from: Point
  text: string
}

export interface NoteData {
  element: string
  color: Color
  bounds: Bounds
  text: string
}

/** What the room knows of an element beside its content. */
export interface Standing {
  author: Uuid
  /** Its place in the pile: higher is nearer to the eye; equal ones by `element`. */
  z: number
  /** To be added to every coordinate; absent is `[0, 0]`. */
  offset?: Point
  /** The seq of the op that deleted it; absent while it is there. */
  deleted_by?: number
}

export type StrokeElement = StrokeData & Standing & { type: 'stroke' }
export type LineElement = LineData & Standing & { type: 'line' | 'arrow' }
export type AreaElement = AreaData & Standing & { type: 'rectangle' | 'ellipse' }
export type TextElement = TextData & Standing & { type: 'text' }
export type NoteElement = NoteData & Standing & { type: 'note' }

/** An element of a board. Treat it as immutable: a change makes a new object, so `===` tells whether it changed. */
export type Element = StrokeElement | LineElement | AreaElement | TextElement | NoteElement
export type ShapeType = Element['type']

// ---- ops ---------------------------------------------------------------------------------------------------------

/** New content for one element. What is absent stays. */
export interface ChangeData {
  element: string
  points?: Points
  pressure?: Pressure
  from?: Point
  to?: Point
  bounds?: Bounds
  text?: string
}

/** New looks for elements. What is absent stays. */
export interface RestyleData {
  elements: string[]
  color?: Color
  width?: number
  size?: number
  fill?: Color
}

export type AddOp =
  | { type: 'add_stroke'; data: StrokeData }
  | { type: 'add_line' | 'add_arrow'; data: LineData }
  | { type: 'add_rectangle' | 'add_ellipse'; data: AreaData }
  | { type: 'add_text'; data: TextData }
  | { type: 'add_note'; data: NoteData }

export type BoardOp =
  | AddOp
  | { type: 'change'; data: ChangeData }
  | { type: 'move'; data: { elements: string[]; offsets: Point[] } }
  | { type: 'restyle'; data: RestyleData }
  | { type: 'reorder'; data: { elements: string[]; z: number[] } }
  | { type: 'delete'; data: { elements: string[] } }
  | { type: 'restore'; data: { deleted_by: number } }
  | { type: 'clear'; data: Record<string, never> }
  | { type: 'forget'; data: { elements: string[] } }

/** A durable change to a room. Kinds of rooms and ops that this version does not know travel as they are. */
export type Op = BoardOp

/** An op as it stands in the history of its room. Its seq follows from its place. */
export interface LoggedOp {
  author: Uuid
  client: Uuid
  op_id: number
  /** When the room took it, in milliseconds since 1970. */
  at: number
  op: Op
}

/** The whole of a room after its op `seq`. */
export interface Snapshot {
  seq: number
  elements?: Element[]
}

// ---- signals -----------------------------------------------------------------------------------------------------

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

export interface Signal {
  author: Uuid
  client: Uuid
  key: string
  body: Json
}

// ---- messages ----------------------------------------------------------------------------------------------------

export interface Hello {
  client: Uuid
  /** Only watches: counted, not listed. Needs no credential. */
  audience?: true
  resume?: string
  token?: string
  guest?: { name: string }
  /** How snapshots may be compressed. */
  compression?: string[]
}

export interface Requests {
  hello: Hello
  join: { room: Uuid; link?: string; since?: Position }
  leave: { room: Uuid }
  submit: { room: Uuid; op_id: number; op: Op }
  signal: { room: Uuid; key: string; body: Json }
  read: { room: Uuid; seq: number }
  refresh: { token: string }
  activity: { active: boolean }
  message: { room_id: Uuid; content: string; file_url?: string }
  pong: Record<string, never>
}

export interface Presence {
  room?: Uuid
  count: number
  /** Connections that only watch, not among `count`; absent if there are none. */
  audience?: number
  members?: Member[]
  joined?: Member[]
  left?: Uuid[]
}

export interface Welcome {
  /** Absent, as is `resume`, for an audience without a name. */
  user?: User
  node: string
  ping_ms: number
  resume?: string
  limits: Limits
}

export interface Joined {
  room: Uuid
  kind: RoomKind
  title: string
  role: Role
  position: Position
  snapshot?: Snapshot
  /** The snapshot, packed; it is unpacked before a room takes it. */
  snapshot_deflate?: Uint8Array
  ops?: LoggedOp[]
  presence: Presence
}

export interface ErrorData {
  code: string
  message: string
  retry_after_ms?: number
  /** Names the error in the server's log. */
  trace_id?: string
}

export interface ServerMessages {
  welcome: Welcome
  joined: Joined
  accepted: { seq: number }
  ok: Record<string, never>
  error: ErrorData
  ops: { room: Uuid; epoch: number; first_seq: number; ops: LoggedOp[] }
  signals: { room: Uuid; signals: Signal[] }
  presence: Presence & { room: Uuid }
  reset: { room: Uuid; position: Position; snapshot?: Snapshot; snapshot_deflate?: Uint8Array; ops?: LoggedOp[] }
  renamed: { room: Uuid; title: string }
  ping: { heads: { room: Uuid; seq: number }[] }
  reconnect: { after_ms: number; resume?: string }
  closing: { code: number; reason: string; trace_id?: string }
}

type Enveloped<Messages> = {
  [Type in keyof Messages]: { id?: number; type: Type; data: Messages[Type] }
}[keyof Messages]

/** What a client sends. */
export type ClientMessage = Enveloped<Requests>

/** What a server sends, as far as this version knows it. */
export type ServerMessage = Enveloped<ServerMessages>
