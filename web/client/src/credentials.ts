/** Who connects, for how long that is good, and when to ask anew. */

import type { Clock, Random } from './clock.js'
import type { Hello, User, Uuid, Welcome } from './types.js'

/** Who one is, by one or more of these; the server tries them in the order resume, token, guest. */
export interface Credentials {
  /** A signed-in person's access token. */
  token?: string | undefined
  /** A guest with a new id. */
  guest?: { name: string } | undefined
  /** From `client.resume` of an earlier visit: a guest comes back under the same id. */
  resume?: string | undefined
}

/** A token that has less than this left is not worth saying hello with. */
const MARGIN_MS = 5_000

/** The credentials of one person, as the application gave them and the server answered. */
export class Identification {
  #credentials: Credentials | null = null
  #fresh = false
  #resume: string | null = null
  #user: User | null = null

  constructor(
    readonly source: () => Promise<Credentials> | Credentials,
    readonly clock: Clock,
  ) {}

  /** Who the server says this is. */
  get user(): User | null {
    return this.#user
  }

  get resume(): string | null {
    return this.#resume
  }

  get token(): string | undefined {
    return this.#credentials?.token
  }

  /** Whether the credentials were asked for since the last welcome: if they do not hold, nothing does. */
  get fresh(): boolean {
    return this.#fresh
  }

  /** When the token runs out; undefined for a guest. */
  get expiresAt(): number | undefined {
    return this.token === undefined || this.#user?.guest ? undefined : expiryOf(this.token)
  }

  /** Asks only if what is there is not good for a while. */
  async ready(): Promise<void> {
    const expiresAt = this.expiresAt ?? Number.POSITIVE_INFINITY
    if (!this.#credentials || expiresAt - this.clock.now() < MARGIN_MS) await this.ask()
  }

  async ask(): Promise<Credentials> {
    const credentials = { ...(await this.source()) }
    // A resume token of the server is as old as the token before this one; that of a guest outlives any token.
    if (credentials.token !== undefined && !this.#user?.guest) this.#resume = null
    this.#resume ??= credentials.resume ?? null
    this.#fresh = true
    return (this.#credentials = credentials)
  }

  /** They have run out. */
  drop(): void {
    this.#credentials = null
    if (!this.#user?.guest) this.#resume = null
  }

  welcomed({ resume, user }: Welcome): void {
    this.#fresh = false
    this.#resume = resume ?? null
    this.#user = user ? { id: user.id, name: user.name, guest: user.guest ?? false } : null
  }

  /** The server gave another resume token. */
  resumeWith(resume: string | undefined): void {
    this.#resume = resume ?? this.#resume
  }

  hello(client: Uuid): Hello {
    const { token, guest } = this.#credentials ?? {}
    return {
      client,
      ...(this.#resume !== null && { resume: this.#resume }),
      ...(token !== undefined && { token }),
      ...(guest && { guest }),
    }
  }

  /** For another connection of the same person. */
  async same(): Promise<Credentials> {
    await this.ready()
    return { token: this.token, resume: this.#resume ?? undefined }
  }
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
