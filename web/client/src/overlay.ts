/**
 * A layer of own, unanswered ops above a confirmed board: what a person sees of their own work before the server has it.
 *
 * An op changes each element by itself, so the layer is kept element by element: what one of them looks like is its
 * confirmed state, and then, in order, the own ops that concern it.
 */

import { become, touchedBy, type View } from './board-state.js'
import type { BoardOp, Element, Uuid } from './types.js'

/** An own op in the layer. `op` and `seq` are what is known or assumed of them now; after a change, refresh. */
export interface OwnOp {
  op: BoardOp
  seq: number
  author: Uuid
}

interface Placed {
  own: OwnOp
  /** Where it stands among all own ops. */
  order: number
}

export class Overlay implements View {
  readonly #layer = new Map<string, Element | undefined>()
  readonly #byElement = new Map<string, Placed[]>()
  /** Those that may concern any element. */
  #ofAll: Placed[] = []
  #order = 0

  constructor(readonly base: View) {}

  get(id: string): Element | undefined {
    return this.#layer.has(id) ? this.#layer.get(id) : this.base.get(id)
  }

  /** Whether the element is seen other than it is confirmed. */
  has(id: string): boolean {
    return this.#layer.has(id)
  }

  /** Every element that own ops concern. */
  ids(): Set<string> {
    return new Set([...this.#layer.keys(), ...this.#byElement.keys()])
  }

  *all(): Iterable<Element> {
    for (const element of this.base.all()) if (!this.#layer.has(element.element)) yield element
    for (const element of this.#layer.values()) if (element) yield element
  }

  /** Puts an op on top of the others. Returns which elements to refresh. */
  push(own: OwnOp): Iterable<string> {
    const placed = { own, order: this.#order++ }
    if (isOfAll(own.op)) this.#ofAll.push(placed)
    else for (const id of new Set(touchedBy(own.op, this))) this.#byElement.set(id, [...(this.#byElement.get(id) ?? []), placed])
    return touchedBy(own.op, this)
  }

  /** Which elements look as they do because of this op. */
  concernedBy({ op }: OwnOp): Iterable<string> {
    return isOfAll(op) ? this.ids() : touchedBy(op, this)
  }

  /** Takes an op away. Returns which elements to refresh. */
  remove(own: OwnOp): Iterable<string> {
    const others = (placed: Placed): boolean => placed.own !== own
    const ids = this.concernedBy(own)
    this.#ofAll = this.#ofAll.filter(others)
    if (isOfAll(own.op)) return ids
    for (const id of ids) {
      const rest = this.#byElement.get(id)?.filter(others) ?? []
      if (rest.length > 0) this.#byElement.set(id, rest)
      else this.#byElement.delete(id)
    }
    return ids
  }

  /** Computes elements anew: their confirmed state has changed, or own ops have. */
  refresh(ids: Iterable<string>): void {
    for (const id of ids) {
      const confirmed = this.base.get(id)
      const seen = this.#opsOn(id).reduce((element, { own }) => become(own.op, id, element, own), confirmed)
      if (seen === confirmed) this.#layer.delete(id)
      else this.#layer.set(id, seen)
    }
  }

  /** The confirmed board is another one. */
  refreshAll(): void {
    const ids = this.ids()
    if (this.#ofAll.length > 0) for (const { element } of this.base.all()) ids.add(element)
    this.refresh(ids)
  }

  #opsOn(id: string): Placed[] {
    const named = this.#byElement.get(id) ?? []
    return this.#ofAll.length === 0 ? named : [...named, ...this.#ofAll].sort((a, b) => a.order - b.order)
  }
}

function isOfAll({ type }: BoardOp): boolean {
  return type === 'clear' || type === 'restore'
}
