/** The part of the HTTP API that a realtime client needs: who one is, rooms, links, history. */

import { fromJsonForm, jsonForm } from './codec.js'
import { EnfiladeError } from './errors.js'
import { Emitter } from './events.js'
import { newClientId } from './ids.js'
import type { LoggedOp, Member, Op, Position, Role, RoomKind, Snapshot, User, Uuid } from './types.js'
import { fromWire, HTTP_SCHEMAS, toWire } from './wire.js'

/** Who is signed in, and the token that says so. */
export interface Session {
  token: string
  /** In milliseconds since 1970, by this machine's clock. */
  expiresAt: number
  user: User
}

/** A device on which the person is signed in. */
export interface Login {
  id: Uuid
  /** What the device said of itself. */
  device: string
  created_at: number
  refreshed_at: number
  /** Whether it is this one. */
  current: boolean
  /** Where it is connected right now; absent if that cannot be found out. */
  connections?: { node: string; since: number; active: boolean }[]
}

export interface RoomInfo {
  id: Uuid
  kind: RoomKind
  title: string
  role: Role
  /** In milliseconds since 1970; in lists. */
  created_at?: number
  /** The secret of an owner's link, for a guest who has just created the room. It is not told again. */
  link?: string
  /** The page of the room with that secret. */
  url?: string
}

export interface LinkInfo {
  id: Uuid
  role: Role
  /** In milliseconds since 1970. */
  created_at: number
  expires_at?: number
}

export interface NewLink {
  id: Uuid
  role: Role
  /** The secret: it is not told again. */
  link: string
  /** The page of the room with the secret. */
  url: string
}

export interface RoomSnapshot {
  room: Uuid
  kind: RoomKind
  title: string
  position: Position
  snapshot: Snapshot
}

export interface ApiOptions {
  /** Where the server is, such as `https://example.org`; the origin of the page unless given. */
  origin?: string
  fetch?: typeof globalThis.fetch
  locks?: Pick<LockManager, 'request'>
  now?: () => number
}

export interface ApiEvents {
  /** Somebody signed in or out, or has a fresh token. */
  session: Session | null
}

interface Call {
  body?: unknown
  /** The secret of a share link. */
  link?: string | undefined
  /** Calls that sign in do not say who is signed in. */
  anonymous?: boolean
}

interface TokenAnswer {
  access_token: string
  /** In seconds. */
  expires_in: number
  user: Pick<User, 'id' | 'name'>
}

const ROOT = '/api/v1'
/** A token with less of its life left than this is refreshed first. */
const REFRESH_PART = 0.3
const RETRY_MS = 300

/** Every call rejects with EnfiladeError. `link` is the secret of a share link, for those who are not members. */
export class Api extends Emitter<ApiEvents> {
  readonly #origin: string
  readonly #fetch: typeof globalThis.fetch
  readonly #locks: Pick<LockManager, 'request'> | undefined
  readonly #now: () => number
  #session: Session | null = null
  #lifeMs = 0
  #refreshing: Promise<Session | null> | undefined

  constructor(options: ApiOptions = {}) {
    super()
    this.#origin = options.origin ?? ''
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis)
    this.#locks = options.locks ?? globalThis.navigator?.locks
    this.#now = options.now ?? Date.now
  }

  // ---- who one is -------------------------------------------------------------------------------------------------

  get session(): Session | null {
    return this.#session
  }

  signUp(who: { username: string; password: string; name?: string }): Promise<Session> {
    return this.#signIn('sign-up', who)
  }

  signIn(who: { username: string; password: string }): Promise<Session> {
    return this.#signIn('sign-in', who)
  }

  /** A session from the refresh cookie; null if nobody is signed in. At any time at most one, over all tabs. */
  refresh(): Promise<Session | null> {
    this.#refreshing ??= this.#refreshAlone().finally(() => (this.#refreshing = undefined))
    return this.#refreshing
  }

  /** A token that is good for a while; undefined for a guest. What `Client` wants as `credentials().token`. */
  async token(): Promise<string | undefined> {
    if (!this.#session) return undefined
    const left = this.#session.expiresAt - this.#now()
    return left < this.#lifeMs * REFRESH_PART ? (await this.refresh())?.token : this.#session.token
  }

  async signOut(options: { everywhere?: boolean } = {}): Promise<void> {
    await this.#call('POST', '/auth/sign-out', { body: options })
    this.#setSession(null)
  }

  /** The devices on which the person is signed in, the newest first. */
  async logins(): Promise<Login[]> {
    return (await this.#call<{ logins: Login[] }>('GET', '/auth/logins')).logins
  }

  /** Signs out on one device. */
  endLogin(login: Uuid): Promise<void> {
    return this.#call('DELETE', `/auth/logins/${login}`)
  }

  /** Whether somebody is there, with whom one shares a room. */
  async presenceOf(user: Uuid): Promise<'online' | 'away' | 'offline'> {
    return (await this.#call<{ presence: 'online' | 'away' | 'offline' }>('GET', `/users/${user}/presence`)).presence
  }

  async #signIn(how: 'sign-in' | 'sign-up', body: object): Promise<Session> {
    return this.#signedIn(await this.#call<TokenAnswer>('POST', `/auth/${how}`, { body, anonymous: true }))
  }

  /** A refresh uses up the cookie; two at once would look like a theft. */
  async #refreshAlone(): Promise<Session | null> {
    const refresh = (): Promise<TokenAnswer> => this.#call('POST', '/auth/refresh', { anonymous: true })
    try {
      const answer = this.#locks ? await this.#locks.request('enfilade-refresh', refresh) : await refresh()
      return this.#signedIn(answer)
    } catch (error) {
      if (!(error instanceof EnfiladeError) || !NOBODY.has(error.code)) throw error
      this.#setSession(null)
      return null
    }
  }

  #signedIn({ access_token, expires_in, user }: TokenAnswer): Session {
    this.#lifeMs = expires_in * 1_000
    const session = { token: access_token, expiresAt: this.#now() + this.#lifeMs, user: { ...user, guest: false } }
    this.#setSession(session)
    return session
  }

  #setSession(session: Session | null): void {
    this.#session = session
    this.emit('session', session)
  }

  // ---- rooms ------------------------------------------------------------------------------------------------------

  createRoom(room: { kind: RoomKind; title?: string }): Promise<RoomInfo> {
    return this.#call('POST', '/rooms', { body: room })
  }

  /** The rooms one is a member of, page by page. */
  rooms(page: { after?: string; limit?: number } = {}): Promise<{ rooms: RoomInfo[]; next?: string }> {
    return this.#call('GET', `/rooms${query(page)}`)
  }

  room(id: Uuid, link?: string): Promise<RoomInfo> {
    return this.#call('GET', `/rooms/${id}`, { link })
  }

  renameRoom(id: Uuid, title: string, link?: string): Promise<RoomInfo> {
    return this.#call('PATCH', `/rooms/${id}`, { body: { title }, link })
  }

  deleteRoom(id: Uuid, link?: string): Promise<void> {
    return this.#call('DELETE', `/rooms/${id}`, { link })
  }

  createLink(room: Uuid, role: Role, link?: string): Promise<NewLink> {
    return this.#call('POST', `/rooms/${room}/links`, { body: { role }, link })
  }

  async links(room: Uuid, link?: string): Promise<LinkInfo[]> {
    return (await this.#call<{ links: LinkInfo[] }>('GET', `/rooms/${room}/links`, { link })).links
  }

  revokeLink(room: Uuid, linkId: Uuid, link?: string): Promise<void> {
    return this.#call('DELETE', `/rooms/${room}/links/${linkId}`, { link })
  }

  /** Become a member through a link. For signed-in people. */
  becomeMember(room: Uuid, link: string): Promise<RoomInfo> {
    return this.#call('PUT', `/rooms/${room}/members/@me`, { link })
  }

  /** Be a member no more. */
  leaveRoom(room: Uuid): Promise<void> {
    return this.#call('DELETE', `/rooms/${room}/members/@me`)
  }

  members(
    room: Uuid,
    page: { after?: string; limit?: number } = {},
    link?: string,
  ): Promise<{ members: Member[]; next?: string }> {
    return this.#call('GET', `/rooms/${room}/members${query(page)}`, { link })
  }

  /** Who is in a room right now, by id. In a small one the connection tells of itself. */
  people(
    room: Uuid,
    page: { after?: string; limit?: number } = {},
    link?: string,
  ): Promise<{ members: Member[]; next?: string }> {
    return this.#call('GET', `/rooms/${room}/people${query(page)}`, { link })
  }

  async snapshot(room: Uuid, link?: string): Promise<RoomSnapshot> {
    const answer = await this.#call('GET', `/rooms/${room}/snapshot`, { link })
    return fromWire(answer, HTTP_SCHEMAS.snapshot, fromJsonForm) as RoomSnapshot
  }

  /** The history, page by page: the ops after `after`. */
  async ops(
    room: Uuid,
    range: { after?: number; limit?: number } = {},
    link?: string,
  ): Promise<{ firstSeq: number; ops: LoggedOp[]; next?: number }> {
    const answer = await this.#call<object>('GET', `/rooms/${room}/ops${query(range)}`, { link })
    const { first_seq, ...page } = fromWire(answer, HTTP_SCHEMAS.history, fromJsonForm) as {
      first_seq: number
      ops: LoggedOp[]
      next?: number
    }
    return { firstSeq: first_seq, ...page }
  }

  /** Submits an op without a connection. The same `client` and `opId` again give the same answer. */
  submit(room: Uuid, { client, opId, op }: { client: Uuid; opId: number; op: Op }, link?: string): Promise<{ seq: number }> {
    const body = toWire({ client, op_id: opId, op }, HTTP_SCHEMAS.op, jsonForm)
    return this.#call('POST', `/rooms/${room}/ops`, { body, link })
  }

  // ---- calling ----------------------------------------------------------------------------------------------------

  async #call<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const key = method === 'POST' && !call.anonymous ? newClientId() : undefined
    const send = async (): Promise<T> => this.#send<T>(method, path, call, key)
    try {
      return await send()
    } catch (error) {
      // Repeating is harmless: the key makes sure of it where the method does not.
      if (!(error instanceof EnfiladeError) || call.anonymous) throw error
      if (AGAIN.has(error.code)) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      else if (error.code !== 'token_expired' || !(await this.refresh())) throw error
      return send()
    }
  }

  async #send<T>(method: string, path: string, call: Call, key: string | undefined): Promise<T> {
    const token = call.anonymous ? undefined : await this.token()
    const headers: Record<string, string> = { Accept: 'application/json' }
    if (token !== undefined) headers.Authorization = `Bearer ${token}`
    if (call.link !== undefined) headers['Enfilade-Link'] = call.link
    if (key !== undefined) headers['Idempotency-Key'] = key
    if (call.body !== undefined) headers['Content-Type'] = 'application/json'
    const init: RequestInit = { method, headers, credentials: this.#origin ? 'include' : 'same-origin' }
    if (call.body !== undefined) init.body = JSON.stringify(call.body)
    return answerOf<T>(await this.#reach(`${this.#origin}${ROOT}${path}`, init))
  }

  async #reach(url: string, init: RequestInit): Promise<Response> {
    try {
      return await this.#fetch(url, init)
    } catch (cause) {
      throw new EnfiladeError('unreachable', 'the server cannot be reached', RETRY_MS, { cause })
    }
  }
}

/** What is soon over. */
const AGAIN: ReadonlySet<string> = new Set(['unreachable', 'idempotency_in_progress'])

/** What a refresh is answered with when nobody is signed in. */
const NOBODY: ReadonlySet<string> = new Set(['unauthenticated', 'token_expired', 'invalid_credentials'])

async function answerOf<T>(response: Response): Promise<T> {
  if (!response.ok) throw await problemOf(response)
  if (response.status === 204 || response.headers.get('Content-Length') === '0') return undefined as T
  return (await response.json()) as T
}

/** RFC 9457. Whatever stands between here and the server may answer as well, in its own way. */
async function problemOf(response: Response): Promise<EnfiladeError> {
  const body: unknown = await response.json().catch(() => null)
  const { code, detail, title, retry_after_ms, trace_id } = Object(body) as Record<string, unknown>
  const message = [detail, title].find((text) => typeof text === 'string') ?? `the server answered ${response.status}`
  const stable = typeof code === 'string' ? code : codeOf(response.status)
  const retry = typeof retry_after_ms === 'number' ? retry_after_ms : undefined
  const trace = typeof trace_id === 'string' ? trace_id : undefined
  return new EnfiladeError(stable, message as string, retry, undefined, trace)
}

function codeOf(status: number): string {
  if (status === 429) return 'rate_limited'
  if (status === 502 || status === 503 || status === 504) return 'busy'
  if (status === 404) return 'not_found'
  if (status === 413) return 'payload_too_large'
  return status >= 500 ? 'internal' : 'invalid_request'
}

function query(parameters: Record<string, string | number | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`
}
