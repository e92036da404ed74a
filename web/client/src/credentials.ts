/** Who connects, and for how long a token is good. */

import type { Random } from './clock.js'

/** Who one is, by one or more of these; the server tries them in the order resume, token, guest. */
export interface Credentials {
  /** A signed-in person's access token. */
  token?: string
  /** A guest with a new id. */
  guest?: { name: string }
  /** From `client.resume` of an earlier visit: a guest comes back under the same id. */
  resume?: string
}

/** A claim of a token, which is not verified here: the server does that. */
function claims(token: string): { exp?: unknown; sub?: unknown } {
  try {
    const payload = token.split('.')[1] ?? ''
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
    return Object(JSON.parse(new TextDecoder().decode(bytes))) as object
  } catch {
    return {}
  }
}

/** When a token runs out, in milliseconds since 1970; undefined if it does not say. */
export function expiryOf(token: string): number | undefined {
  const { exp } = claims(token)
  return typeof exp === 'number' ? exp * 1_000 : undefined
}

/** The id of the person whose token it is. */
export function subjectOf(token: string): string | undefined {
  const { sub } = claims(token)
  return typeof sub === 'string' ? sub : undefined
}

const SOONEST_MS = 1_000

/** How long to wait before a token is refreshed: about four fifths of what is left of it. */
export function refreshAfterMs(expiresAt: number, now: number, random: Random): number {
  return Math.max(SOONEST_MS, (expiresAt - now) * (0.75 + 0.1 * random()))
}
