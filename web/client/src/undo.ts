/**
 * Undo and redo of one person's own ops, by submitting the opposite.
 *
 * An opposite is found when an op is made, and turned into ops when it is wanted: what somebody else has changed since is
 * left alone. The opposite of an opposite is found in the same way, which gives redo.
 */

import { deletedBy, isAdd, LOOKS, NOT_FILLED, type View } from './board-state.js'
import type { Submission } from './outbox.js'
import { isThere } from './pile.js'
import { sameValue } from './same.js'
import type { BoardOp, Element, Points, Pressure } from './types.js'

/** What an op can set of an element. `points` stands for the pressure as well. */
export type Property = 'points' | 'from' | 'to' | 'bounds' | 'text' | 'offset' | 'z' | 'color' | 'width' | 'size' | 'fill'

/** How to take an op back. */
export type Opposite =
  | { kind: 'delete'; elements: string[]; /** The op whose deletion was taken back, if it was one. */ again?: number }
  /** Restore what the op deleted: its seq is known only once it was accepted. */
  | { kind: 'restore' }
  | { kind: 'set'; values: Values }
  /** Do this again. */
  | { kind: 'op'; op: BoardOp }

type Values = Map<string, Map<Property, unknown>>

/** An op that was made, and how to take it back. */
export interface Part {
  opposite: Opposite
  submission: Submission | null
}

/** What one press of "undo" takes back. */
export interface Step {
  parts: Part[]
  /** Properties that somebody else has set since, by `propertyKey`. */
  overtaken: Set<string>
}

export const STEPS_MAX = 100

/** Two stacks of steps, each bounded: beyond the bound the oldest steps can no longer be undone. */
export class History {
  readonly undo: Step[] = []
  readonly redo: Step[] = []

  /** Something new was done: what was undone before cannot be redone on top of it. */
  record(parts: Part[]): void {
    if (parts.length === 0) return
    this.redo.length = 0
    this.push(this.undo, parts)
  }

  push(stack: Step[], parts: Part[]): void {
    stack.push({ parts, overtaken: new Set() })
    if (stack.length > STEPS_MAX) stack.shift()
  }

  /** Somebody else's op: what it set is theirs now. */
  othersDid(op: BoardOp, view: View): void {
    const steps = this.#steps()
    if (steps.length === 0) return
    const keys = [...settings(op, view)].map(([id, property]) => propertyKey(id, property))
    for (const { overtaken } of steps) for (const key of keys) overtaken.add(key)
  }

  /** Ops that were refused never happened: there is nothing to take back. */
  forget(submission: Submission): void {
    for (const stack of [this.undo, this.redo]) {
      for (const step of stack) step.parts = step.parts.filter((part) => part.submission !== submission)
      stack.splice(0, stack.length, ...stack.filter(({ parts }) => parts.length > 0))
    }
  }

  /** What the op with this seq had deleted is now deleted by others: those are to be restored instead. */
  succeed(seq: number, deletions: readonly Submission[]): void {
    for (const step of this.#steps()) {
      step.parts = step.parts.flatMap((part) =>
        part.opposite.kind === 'restore' && part.submission?.seq === seq
          ? deletions.map((submission): Part => ({ opposite: part.opposite, submission }))
          : part,
      )
    }
  }

  /** The present values of everything that a step would set; `compare` tells which of them others have changed. */
  remember(view: View): { compare: (view: View) => void } {
    const values = this.#steps().flatMap((step) =>
      [...stepSettings(step)].map(([id, property]) => ({ step, id, property, value: valueOf(view.get(id), property) })),
    )
    return {
      compare(now) {
        for (const { step, id, property, value } of values) {
          if (!sameValue(value, valueOf(now.get(id), property))) step.overtaken.add(propertyKey(id, property))
        }
      },
    }
  }

  #steps(): Step[] {
    return [...this.undo, ...this.redo]
  }
}

/** How to take an op back that is about to be applied to `view`; null if it does nothing there. */
export function oppositeOf(op: BoardOp, view: View): Opposite | null {
  if (isAdd(op)) return { kind: 'delete', elements: [op.data.element] }
  switch (op.type) {
    case 'delete':
      return op.data.elements.some((id) => isThereIn(view, id)) ? { kind: 'restore' } : null
    case 'clear':
      return some(view.all(), isThere) ? { kind: 'restore' } : null
    case 'restore': {
      const elements = deletedBy(view, op.data.deleted_by)
      return elements.length > 0 ? { kind: 'delete', elements, again: op.data.deleted_by } : null
    }
    case 'forget':
      return null
    default: {
      const values: Values = new Map()
      for (const [id, property] of settings(op, view)) setValue(values, id, property, valueOf(view.get(id), property))
      return values.size > 0 ? { kind: 'set', values } : null
    }
  }
}

/** The ops that take it back, as far as others have not changed it since. Not for `restore`. */
export function opsFor(opposite: Opposite, overtaken: ReadonlySet<string>, view: View, perOp: number): BoardOp[] {
  switch (opposite.kind) {
    case 'delete': {
      const there = opposite.elements.filter((id) => isThereIn(view, id))
      return chunks(there, perOp).map((elements) => ({ type: 'delete', data: { elements } }))
    }
    case 'op':
      return [opposite.op]
    case 'set':
      return settingOps(stillMine(opposite.values, overtaken, view), perOp)
    case 'restore':
      return []
  }
}

export function propertyKey(id: string, property: Property): string {
  return `${id} ${property}`
}

const CONTENT: readonly Property[] = ['points', 'from', 'to', 'bounds', 'text']

/** Which properties of which elements an op sets, of those that are on the board and have them. */
function* settings(op: BoardOp, view: View): Iterable<[id: string, property: Property]> {
  const set = (ids: string[], properties: (element: Element) => readonly Property[]): [string, Property][] =>
    ids.flatMap((id) => {
      const element = view.get(id)
      return element ? properties(element).map((property): [string, Property] => [id, property]) : []
    })
  if (op.type === 'move') yield* set(op.data.elements, () => ['offset'])
  if (op.type === 'reorder') yield* set(op.data.elements, () => ['z'])
  if (op.type === 'restyle') {
    const given = (name: 'color' | 'width' | 'size' | 'fill'): boolean => op.data[name] !== undefined
    yield* set(op.data.elements, ({ type }) => (['color', ...LOOKS[type]] as const).filter(given))
  }
  if (op.type === 'change') {
    yield* set([op.data.element], (element) => CONTENT.filter((name) => name in op.data && name in element))
  }
}

function* stepSettings(step: Step): Iterable<[id: string, property: Property]> {
  for (const { opposite } of step.parts) {
    if (opposite.kind !== 'set') continue
    for (const [id, values] of opposite.values) for (const property of values.keys()) yield [id, property]
  }
}

interface StrokeContent {
  points: Points
  pressure?: Pressure
}

function valueOf(element: Element | undefined, property: Property): unknown {
  if (!element) return undefined
  const fields = element as unknown as Record<string, unknown>
  switch (property) {
    case 'offset':
      return element.offset ?? [0, 0]
    case 'fill':
      return fields.fill ?? NOT_FILLED
    case 'points': {
      const { points, pressure } = fields as unknown as StrokeContent
      return pressure ? { points, pressure } : { points }
    }
    default:
      return fields[property]
  }
}

function setValue(values: Values, id: string, property: Property, value: unknown): void {
  let own = values.get(id)
  if (!own) values.set(id, (own = new Map()))
  own.set(property, value)
}

function stillMine(values: Values, overtaken: ReadonlySet<string>, view: View): Values {
  const mine: Values = new Map()
  for (const [id, properties] of values) {
    if (!view.get(id)) continue
    for (const [property, value] of properties) {
      if (!overtaken.has(propertyKey(id, property))) setValue(mine, id, property, value)
    }
  }
  return mine
}

/** The fewest ops that set these values. */
function settingOps(values: Values, perOp: number): BoardOp[] {
  return [...places(values, 'offset', perOp), ...places(values, 'z', perOp), ...looks(values, perOp), ...contents(values)]
}

function places(values: Values, property: 'offset' | 'z', perOp: number): BoardOp[] {
  const entries = [...values].filter(([, own]) => own.has(property)).map(([id, own]) => [id, own.get(property)] as const)
  return chunks(entries, perOp).map((chunk): BoardOp => {
    const elements = chunk.map(([id]) => id)
    const set = chunk.map(([, value]) => value)
    return property === 'offset'
      ? { type: 'move', data: { elements, offsets: set as [number, number][] } }
      : { type: 'reorder', data: { elements, z: set as number[] } }
  })
}

/** Elements that get the same looks share an op. */
function looks(values: Values, perOp: number): BoardOp[] {
  const alike = new Map<string, { style: object; elements: string[] }>()
  for (const [id, own] of values) {
    const style = Object.fromEntries([...own].filter(([name]) => ['color', 'width', 'size', 'fill'].includes(name)))
    if (Object.keys(style).length === 0) continue
    const key = JSON.stringify(style)
    const group = alike.get(key) ?? { style, elements: [] }
    group.elements.push(id)
    alike.set(key, group)
  }
  return [...alike.values()].flatMap(({ style, elements }) =>
    chunks(elements, perOp).map((chunk): BoardOp => ({ type: 'restyle', data: { elements: chunk, ...style } })),
  )
}

function contents(values: Values): BoardOp[] {
  return [...values].flatMap(([element, own]): BoardOp[] => {
    const content = [...own].filter(([name]) => CONTENT.includes(name))
    if (content.length === 0) return []
    const data = content.map(([name, value]) => (name === 'points' ? (value as StrokeContent) : { [name]: value }))
    return [{ type: 'change', data: Object.assign({ element }, ...data) }]
  })
}

function isThereIn(view: View, id: string): boolean {
  const element = view.get(id)
  return element !== undefined && isThere(element)
}

function some<T>(items: Iterable<T>, holds: (item: T) => boolean): boolean {
  for (const item of items) if (holds(item)) return true
  return false
}

function chunks<T>(items: readonly T[], most: number): T[][] {
  const all: T[][] = []
  for (let i = 0; i < items.length; i += most) all.push(items.slice(i, i + most))
  return all
}
