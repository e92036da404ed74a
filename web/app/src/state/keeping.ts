/**
 * What this browser remembers between visits. Everything read back is checked, because anybody may have written it, and
 * a browser that keeps nothing (private windows, full disks) costs comfort but never breaks the page.
 */

const PREFIX = 'enfilade.'

export function recall<T>(key: string, valid: (value: unknown) => value is T): T | undefined {
  try {
    const text = localStorage.getItem(PREFIX + key)
    if (text === null) return undefined
    const value: unknown = JSON.parse(text)
    return valid(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function keep(key: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value))
  } catch {
    // Full or forbidden: the page works without.
  }
}

export function forget(key: string): void {
  try {
    localStorage.removeItem(PREFIX + key)
  } catch {
    // As above.
  }
}

export const isTrue = (value: unknown): value is true => value === true
export const isString = (value: unknown): value is string => typeof value === 'string'

/** Calls back when another tab of this browser kept something under the key. */
export function onKept(key: string, changed: () => void): void {
  addEventListener('storage', (event) => {
    if (event.key === PREFIX + key) changed()
  })
}
