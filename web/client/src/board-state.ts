/**
 * What stands on a board, as a pure function of its ops: `become` says exactly what PROTOCOL.md says of each op, for one
 * element at a time, so that every process that applied the same ops has the same board.
 */

import type { AddOp, BoardOp, ChangeData, Element, RestyleData, ShapeType, Snapshot, Uuid } from './types.js'

/** Which elements look or lie differently than before. */
export interface ChangeSet {
  /** Everything may have changed; `ids` is then empty. */
  readonly all: boolean
  readonly ids: ReadonlySet<string>
}

/** The seq and the author of an op. */
export interface At {
  seq: number
  author: Uuid
}

/** A board as it is or as it is seen, deleted elements included. */
export interface View {
  get(id: string): Element | undefined
  all(): Iterable<Element>
}

export const NOT_FILLED = '#00000000'

export class BoardState implements View {
  readonly #elements = new Map<string, Element>()
  #seq = 0

  /** Everything on the board, deleted elements included (they can be restored). */
  get elements(): ReadonlyMap<string, Element> {
    return this.#elements
  }

  /** The last op that was applied. */
  get seq(): number {
    return this.#seq
  }

  get(id: string): Element | undefined {
    return this.#elements.get(id)
  }

  all(): Iterable<Element> {
    return this.#elements.values()
  }

  /** Starts over from a snapshot; null is the empty board. */
  load(snapshot: Snapshot | null): ChangeSet {
    this.#elements.clear()
    for (const element of snapshot?.elements ?? []) this.#elements.set(element.element, tidy(element))
    this.#seq = snapshot?.seq ?? 0
    return { all: true, ids: new Set() }
  }

  /** Applies an op that the server sent. `before` collects what the changed elements were before their first change. */
  apply(op: BoardOp, at: At, before = new Map<string, Element | undefined>()): ChangeSet {
    const ids = new Set<string>()
    for (const id of touchedBy(op, this)) {
      const was = this.get(id)
      const now = become(op, id, was, at)
      if (now === was) continue
      if (!before.has(id)) before.set(id, was)
      if (now) this.#elements.set(id, now)
      else this.#elements.delete(id)
      ids.add(id)
    }
    this.#seq = at.seq
    return { all: false, ids }
  }

  /** The board as a snapshot that `load` takes. */
  snapshot(): Snapshot {
    return { seq: this.#seq, elements: [...this.#elements.values()] }
  }
}

/** Which elements an op may change; those of other versions change nothing. */
export function touchedBy(op: BoardOp, view: View): string[] {
  if (isAdd(op) || op.type === 'change') return [op.data.element]
  if (op.type === 'clear') return Array.from(view.all(), ({ element }) => element)
  if (op.type === 'restore') return deletedBy(view, op.data.deleted_by)
  return isList(op) ? op.data.elements : []
}

/** What an op makes of one element. The same object means no change, undefined that there is none. */
export function become(op: BoardOp, id: string, element: Element | undefined, at: At): Element | undefined {
  if (isAdd(op)) return op.data.element === id ? added(op, at) : element
  if (!element) return undefined
  if (op.type === 'change') return op.data.element === id ? changed(element, op.data) : element
  if (op.type === 'clear') return deleted(element, at.seq)
  if (op.type === 'restore') return element.deleted_by === op.data.deleted_by ? restored(element) : element
  return isList(op) ? listed(op, element, at) : element
}

type ListOp = Extract<BoardOp, { data: { elements: string[] } }>

/** Of an op that names its elements. If it names one twice, the later counts. */
function listed(op: ListOp, element: Element, { seq }: At): Element | undefined {
  const i = op.data.elements.lastIndexOf(element.element)
  if (i < 0) return element
  if (op.type === 'move') return tidy({ ...element, offset: op.data.offsets[i]! })
  if (op.type === 'reorder') return { ...element, z: op.data.z[i]! }
  if (op.type === 'restyle') return restyled(element, op.data)
  return op.type === 'delete' ? deleted(element, seq) : undefined
}

/** The type of the shape that an op adds. */
export function shapeOf(op: AddOp): ShapeType {
  return op.type.slice('add_'.length) as ShapeType
}

const ADDS: ReadonlySet<string> = new Set<AddOp['type']>([
  'add_stroke',
  'add_line',
  'add_arrow',
  'add_rectangle',
  'add_ellipse',
  'add_text',
  'add_note',
])
const LISTS: ReadonlySet<string> = new Set<ListOp['type']>(['move', 'restyle', 'reorder', 'delete', 'forget'])

export function isAdd(op: BoardOp): op is AddOp {
  return ADDS.has(op.type)
}

function isList(op: BoardOp): op is ListOp {
  return LISTS.has(op.type)
}

/** The properties of its looks that an element of this type has, beside its colour. */
export const LOOKS: { readonly [Type in ShapeType]: readonly ('width' | 'size' | 'fill')[] } = {
  stroke: ['width'],
  line: ['width'],
  arrow: ['width'],
  rectangle: ['width', 'fill'],
  ellipse: ['width', 'fill'],
  text: ['size'],
  note: [],
}

/** Which elements the op with this seq deleted and nobody has restored. */
export function deletedBy(view: View, seq: number): string[] {
  const ids: string[] = []
  for (const element of view.all()) if (element.deleted_by === seq) ids.push(element.element)
  return ids
}

function added(op: AddOp, { seq, author }: At): Element {
  return tidy({ ...op.data, type: shapeOf(op), author, z: seq } as Element)
}

function changed(element: Element, data: ChangeData): Element {
  const { element: _, ...content } = data
  const next = { ...element, ...content } as Element
  if (next.type === 'stroke' && content.points && !content.pressure) delete next.pressure
  return next
}

function restyled(element: Element, data: RestyleData): Element {
  const next: Record<string, unknown> = { ...element, color: data.color ?? element.color }
  for (const name of LOOKS[element.type]) if (data[name] !== undefined) next[name] = data[name]
  return tidy(next as unknown as Element)
}

function deleted(element: Element, seq: number): Element {
  return element.deleted_by === undefined ? { ...element, deleted_by: seq } : element
}

function restored(element: Element): Element {
  const { deleted_by: _, ...next } = element
  return next as Element
}

/** One way to say the same: no offset of nothing, no filling with nothing. */
function tidy(element: Element): Element {
  const still = element.offset?.[0] === 0 && element.offset[1] === 0
  const hollow = 'fill' in element && element.fill === NOT_FILLED
  if (!still && !hollow) return element
  const next: Record<string, unknown> = { ...element }
  if (still) delete next.offset
  if (hollow) delete next.fill
  return next as unknown as Element
}
