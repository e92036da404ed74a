/** The elements that are to be seen, the lowest first, kept in order while single ones come, go and change. */

import type { Element } from './types.js'

/** From so many changes on it is quicker to sort again. */
const MANY = 512

export class Pile {
  #elements: Element[] = []

  /** The same array from change to change: read it, do not keep it. */
  get elements(): readonly Element[] {
    return this.#elements
  }

  rebuild(all: Iterable<Element>): void {
    this.#elements = Array.from(all).filter(isThere).sort(byHeight)
  }

  /** Each change is what an element was and what it is now, as far as it is on the board. */
  update(changes: readonly (readonly [before: Element | undefined, after: Element | undefined])[]): void {
    if (changes.length >= MANY) return this.#updateMany(changes)
    for (const [before, after] of changes) {
      if (before && after && byHeight(before, after) === 0) this.#elements[this.#indexOf(before)] = after
      else {
        if (before) this.#elements.splice(this.#indexOf(before), 1)
        if (after) this.#elements.splice(this.#indexOf(after), 0, after)
      }
    }
  }

  #updateMany(changes: readonly (readonly [before: Element | undefined, after: Element | undefined])[]): void {
    const gone = new Set(changes.map(([before]) => before?.element))
    const rest = this.#elements.filter(({ element }) => !gone.has(element))
    this.rebuild(rest.concat(changes.flatMap(([, after]) => after ?? [])))
  }

  /** Where the element is, or would have to be. */
  #indexOf(element: Element): number {
    let low = 0
    let high = this.#elements.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (byHeight(this.#elements[middle]!, element) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

export function isThere(element: Element): boolean {
  return element.deleted_by === undefined
}

/** By `z`; equal ones by `element`, as text. */
function byHeight(a: Element, b: Element): number {
  if (a.z !== b.z) return a.z - b.z
  return a.element < b.element ? -1 : a.element > b.element ? 1 : 0
}
