/** Random messages, ops and elements, for properties. */

import fc from 'fast-check'

import type { Message } from '../../src/codec.js'
import { toPoints } from '../../src/points.js'
import type { BoardOp, Element, Json, LoggedOp, Point } from '../../src/types.js'

export const uuid = fc.uuid()
const seq = fc.integer({ min: 0, max: 2 ** 53 - 1 })
const coordinate = fc.integer({ min: -4_000_000, max: 4_000_000 }).map((n) => n / 4)
const size = fc.integer({ min: 0, max: 4_000_000 }).map((n) => n / 4)
const point: fc.Arbitrary<Point> = fc.tuple(coordinate, coordinate)
const bounds = fc.tuple(coordinate, coordinate, size, size)
const color = fc.constantFrom('#1a1a1a', '#ff0000', '#00ff0080', '#3366cc')
const width = fc.integer({ min: 16, max: 400 * 64 }).map((n) => n / 64)
const text = fc.string({ maxLength: 20, unit: 'grapheme' })
const points = fc.array(point, { minLength: 1, maxLength: 12 }).map(toPoints)
const stroked = fc.oneof(
  fc.record({ points }),
  points.chain((points) =>
    fc.record({ points: fc.constant(points), pressure: fc.uint8Array({ minLength: points.length / 2, maxLength: points.length / 2 }) }),
  ),
)

/** Few, so that ops meet on the same elements. */
export const elementId = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
const elements = fc.uniqueArray(elementId, { minLength: 1, maxLength: 4 })

const optional = <T>(arbitrary: fc.Arbitrary<T>, name: string): fc.Arbitrary<object> =>
  fc.option(arbitrary, { nil: undefined }).map((value) => (value === undefined ? {} : { [name]: value }))
const merged = (...parts: fc.Arbitrary<object>[]): fc.Arbitrary<object> =>
  fc.tuple(...parts).map((objects) => Object.assign({}, ...objects) as object)
const op = (type: BoardOp['type'], ...parts: fc.Arbitrary<object>[]): fc.Arbitrary<BoardOp> =>
  merged(...parts).map((data) => ({ type, data }) as BoardOp)

const id = fc.record({ element: elementId })
const looks = fc.record({ color, width })

export const addOp: fc.Arbitrary<BoardOp> = fc.oneof(
  op('add_stroke', id, looks, stroked),
  op('add_line', id, looks, fc.record({ from: point, to: point })),
  op('add_arrow', id, looks, fc.record({ from: point, to: point })),
  op('add_rectangle', id, looks, fc.record({ bounds }), optional(fc.constantFrom('#00000000', '#ffcc00'), 'fill')),
  op('add_ellipse', id, looks, fc.record({ bounds })),
  op('add_text', id, fc.record({ color, size: width, from: point, text })),
  op('add_note', id, fc.record({ color, bounds, text })),
)

const paired = <T>(name: string, value: fc.Arbitrary<T>): fc.Arbitrary<object> =>
  elements.chain((elements) =>
    fc
      .array(value, { minLength: elements.length, maxLength: elements.length })
      .map((values) => ({ elements, [name]: values })),
  )

/** Any op that a client may submit. */
export const boardOp: fc.Arbitrary<BoardOp> = fc.oneof(
  { weight: 4, arbitrary: addOp },
  op('move', paired('offsets', fc.oneof(point, fc.constant<Point>([0, 0])))),
  op('reorder', paired('z', fc.integer({ min: -50, max: 50 }))),
  op('restyle', fc.record({ elements }), optional(color, 'color'), optional(width, 'width'), optional(width, 'size'), optional(fc.constantFrom('#00000000', '#aabbcc'), 'fill')),
  op('delete', fc.record({ elements })),
  op('restore', fc.record({ deleted_by: fc.integer({ min: 1, max: 40 }) })),
  op('clear'),
  op('change', id, stroked),
  op('change', id, fc.record({ bounds })),
  op('change', id, fc.record({ text })),
  op('change', id, fc.record({ from: point })),
)

const loggedOp: fc.Arbitrary<LoggedOp> = fc.record({ author: uuid, client: uuid, op_id: seq, at: seq, op: boardOp })

const element = merged(
  fc.record({ element: elementId, type: fc.constant('stroke'), author: uuid, z: seq, color, width }),
  stroked,
  optional(point, 'offset'),
  optional(seq, 'deleted_by'),
) as fc.Arbitrary<Element>

const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)) as Json)
// Names that mean something to JavaScript itself are refused by the MessagePack reader.
const body = json.filter((value) => !JSON.stringify(value).includes('__proto__'))
const position = fc.record({ epoch: seq, seq })
const member = fc.record({ id: uuid, name: text, role: fc.constantFrom('viewer', 'editor', 'owner') })
const snapshot = fc.record({ seq, elements: fc.array(element, { maxLength: 4 }) })
const presence = fc.record({ count: seq, members: fc.array(member, { maxLength: 3 }) })
const ops = fc.array(loggedOp, { maxLength: 4 })
const joined = fc.constantFrom<'board' | 'chat'>('board', 'chat')

const data: Record<Message['type'], fc.Arbitrary<object>> = {
  hello: merged(fc.record({ client: uuid }), optional(fc.record({ name: text }), 'guest'), optional(text, 'resume')),
  join: merged(fc.record({ room: uuid }), optional(text, 'link'), optional(position, 'since')),
  leave: fc.record({ room: uuid }),
  submit: fc.record({ room: uuid, op_id: seq, op: boardOp }),
  signal: fc.record({ room: uuid, key: text, body }),
  read: fc.record({ room: uuid, seq }),
  refresh: fc.record({ token: text }),
  activity: fc.record({ active: fc.boolean() }),
  message: fc.record({ room_id: uuid, content: text }),
  pong: fc.constant({}),
  welcome: fc.record({ user: fc.record({ id: uuid, name: text }), node: text, ping_ms: seq, resume: text }),
  joined: fc.record({ room: uuid, kind: joined, title: text, position, snapshot, ops, presence }),
  accepted: fc.record({ seq }),
  ok: fc.constant({}),
  error: fc.record({ code: text, message: text, retry_after_ms: seq }),
  ops: fc.record({ room: uuid, epoch: seq, first_seq: seq, ops }),
  signals: fc.record({ room: uuid, signals: fc.array(fc.record({ author: uuid, client: uuid, key: text, body })) }),
  presence: fc.record({ room: uuid, count: seq, joined: fc.array(member), left: fc.array(uuid) }),
  reset: fc.record({ room: uuid, position, snapshot, ops }),
  renamed: fc.record({ room: uuid, title: text }),
  ping: fc.record({ heads: fc.array(fc.record({ room: uuid, seq })) }),
  reconnect: fc.record({ after_ms: seq, resume: text }),
  closing: fc.record({ code: seq, reason: text }),
}

export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  ...Object.entries(data).map(([type, data]) =>
    merged(fc.record({ type: fc.constant(type), data }), optional(fc.integer({ min: 0, max: 2 ** 32 - 1 }), 'id')),
  ),
) as fc.Arbitrary<Message>
