/** Whether two elements look and lie the same. */

import type { Element } from './types.js'

export function sameElement(a: Element | undefined, b: Element | undefined): boolean {
  return sameValue(a, b)
}

/** Numbers, texts, and lists and maps of them. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return false
  if (isList(a)) return isList(b) && a.length === b.length && sameItems(a, b)
  const [left, right] = [Object.entries(a), Object.entries(b)]
  if (left.length !== right.length) return false
  return left.every(([name, value]) => sameValue(value, (b as Record<string, unknown>)[name]))
}

function isList(value: object): value is ArrayLike<unknown> & object {
  return Array.isArray(value) || ArrayBuffer.isView(value)
}

function sameItems(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  for (let i = 0; i < a.length; i++) if (!sameValue(a[i], b[i])) return false
  return true
}
