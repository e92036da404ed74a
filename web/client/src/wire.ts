/**
 * Between messages as this package knows them and as they travel.
 *
 * The two codecs write ids, points and pressure in different forms. A schema says where in a message those are; the
 * same schema serves both directions and both codecs. What no schema names travels as it is.
 */

import type { ClientMessage, ServerMessage } from './types.js'

/** A leaf that the codecs write differently; `json` is a value that must not be touched, not even a null. */
type Leaf = 'uuid' | 'points' | 'pressure' | 'json'
export type Schema = Leaf | { list: Schema } | { fields: { [name: string]: Schema } }

/** How one codec writes the leaves. */
export interface Form {
  uuid(value: unknown): unknown
  points(value: unknown): unknown
  pressure(value: unknown): unknown
}

const fields = (fields: { [name: string]: Schema }): Schema => ({ fields })
const list = (of: Schema): Schema => ({ list: of })

const position = fields({})
const op = fields({ data: fields({ points: 'points', pressure: 'pressure' }) })
const loggedOp = fields({ author: 'uuid', client: 'uuid', op })
const element = fields({ author: 'uuid', points: 'points', pressure: 'pressure' })
const snapshot = fields({ elements: list(element) })
const member = fields({ id: 'uuid' })
const presence = fields({ room: 'uuid', members: list(member), joined: list(member), left: list('uuid') })
const signal = fields({ author: 'uuid', client: 'uuid', body: 'json' })

/** The data of every message that has leaves, by type. */
const SCHEMAS: { readonly [type: string]: Schema } = {
  hello: fields({ client: 'uuid' }),
  join: fields({ room: 'uuid', since: position }),
  leave: fields({ room: 'uuid' }),
  submit: fields({ room: 'uuid', op }),
  signal: fields({ room: 'uuid', body: 'json' }),
  read: fields({ room: 'uuid' }),
  refresh: fields({}),
  activity: fields({}),
  message: fields({ room_id: 'uuid' }),
  pong: fields({}),
  welcome: fields({ user: member }),
  joined: fields({ room: 'uuid', position, snapshot, ops: list(loggedOp), presence }),
  accepted: fields({}),
  ok: fields({}),
  error: fields({}),
  ops: fields({ room: 'uuid', ops: list(loggedOp) }),
  signals: fields({ room: 'uuid', signals: list(signal) }),
  presence,
  reset: fields({ room: 'uuid', position, snapshot, ops: list(loggedOp) }),
  renamed: fields({ room: 'uuid' }),
  ping: fields({ heads: list(fields({ room: 'uuid' })) }),
  reconnect: fields({}),
  closing: fields({}),
}

export function isKnown(type: string): type is (ClientMessage | ServerMessage)['type'] {
  return Object.hasOwn(SCHEMAS, type)
}

export function schemaOf(type: string): Schema {
  return SCHEMAS[type] ?? fields({})
}

/** Schemas of what HTTP carries outside of messages. */
export const HTTP_SCHEMAS = {
  op: fields({ client: 'uuid', op }),
  history: fields({ ops: list(loggedOp) }),
  snapshot: fields({ room: 'uuid', snapshot }),
  namedSnapshot: snapshot,
} as const

/** A copy with every leaf in the form that travels. */
export function toWire(value: unknown, schema: Schema, form: Form): unknown {
  if (value === undefined || value === null) return value
  if (typeof schema === 'string') return schema === 'json' ? value : form[schema](value)
  if ('list' in schema) return (value as unknown[]).map((item) => toWire(item, schema.list, form))
  const copy: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue
    const known = schema.fields[name]
    copy[name] = known ? toWire(field, known, form) : field
  }
  return copy
}

/** The same value, changed in place (a snapshot is large): every leaf as this package has it, absent fields absent. */
export function fromWire(value: unknown, schema: Schema, form: Form): unknown {
  if (typeof schema === 'string') return schema === 'json' ? value : form[schema](value)
  if ('list' in schema) return listFromWire(value, schema.list, form)
  const object = asObject(value)
  for (const name of Object.keys(object)) {
    const known = schema.fields[name]
    if (known === 'json') continue
    if (object[name] === null) delete object[name]
    else if (known) object[name] = fromWire(object[name], known, form)
  }
  return object
}

function listFromWire(value: unknown, schema: Schema, form: Form): unknown {
  if (!Array.isArray(value)) throw new TypeError('a list was expected')
  for (let i = 0; i < value.length; i++) value[i] = fromWire(value[i], schema, form)
  return value
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('a map was expected')
  return value as Record<string, unknown>
}
