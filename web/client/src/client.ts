/**
 * The client: keeps a connection alive, its rooms joined and its ops delivered, whatever happens to the network, the
 * server and the page.
 */

import { Backoff, verdict } from './backoff.js'
import type { ClientEvents, ClientOptions, CloseReason, Status } from './client-options.js'
import { type Clock, type Random, systemClock } from './clock.js'
import { codecNamed } from './codec.js'
import { Connection, type Ending, type SocketConstructor } from './connection.js'
import { type Credentials, Identification, subjectOf } from './credentials.js'
import { Deliveries } from './deliver.js'
import { asError, EnfiladeError, invitesRetry } from './errors.js'
import { Emitter, type Unsubscribe } from './events.js'
import { Ledger } from './ledger.js'
import { INFLATES } from './inflate.js'
import { onAwake } from './page.js'
import { Refresher } from './refresher.js'
import { type JoinOptions, Room, type RoomMessage } from './room.js'
import type { RoomHost } from './room-host.js'
import { fetchSnapshot } from './snapshot-fetch.js'
import { MemoryOpStore, type OpQueue, type OpStore, type QueueOwner } from './store.js'
import { DEFAULT_LIMITS, type Hello, type Limits, type ServerMessage, type User, type Uuid, type Welcome } from './types.js'

export type { ClientEvents, ClientOptions, CloseReason, Status } from './client-options.js'
export type { Credentials } from './credentials.js'

/** A connection that lived this long makes the next failure a first one. */
const STABLE_MS = 10_000

export class Client extends Emitter<ClientEvents> {
  readonly #options: ClientOptions
  readonly #WebSocket: SocketConstructor
  readonly #clock: Clock
  readonly #random: Random
  readonly #store: OpStore
  readonly #backoff: Backoff
  readonly #identification: Identification
  readonly #refresher: Refresher
  readonly #ledger: Ledger
  readonly #host: RoomHost
  readonly #rooms = new Map<Uuid, Room>()
  readonly #asleep: Unsubscribe
  #status: Status = 'connecting'
  #closeReason: CloseReason | null = null
  #welcome: Welcome | null = null
  /** The connection in use, or the one that is being made because there is none. */
  #active: Connection | null = null
  /** The one that will take over from an active one that is going away. */
  #next: Connection | null = null
  #deliveries: Deliveries | null = null
  #onlineSince = 0
  /** Whether somebody uses this device. A new connection counts as in use until it says otherwise. */
  #inUse = true
  /** Whether snapshots may come compressed; not after one could not be unpacked. */
  #compressed: boolean
  #attempting = false
  #retry: unknown
  #takeover: unknown

  constructor(options: ClientOptions) {
    super()
    this.#options = { ...options, url: new URL(options.url).href }
    const WebSocket = options.WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket
    if (!WebSocket) throw new TypeError('there is no WebSocket here: hand one in as an option')
    this.#WebSocket = WebSocket as SocketConstructor
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    // An audience has no ops, and does not deliver those of others.
    this.#store = (options.audience ? undefined : options.store) ?? new MemoryOpStore(options.client)
    this.#compressed = INFLATES && options.codec !== 'json'
    this.#backoff = new Backoff(this.#random)
    const report = (error: EnfiladeError): void => this.emit('error', error)
    const failed = (error: unknown): void => report(asError(error, 'unreachable'))
    const sendToken = (token: string): void => this.#sendToken(token)
    this.#ledger = new Ledger(this.#store, this.#clock, report)
    this.#identification = new Identification(options.credentials ?? (() => ({})), this.#clock)
    this.#refresher = new Refresher(this.#identification, this.#clock, this.#random, sendToken, failed)
    this.#host = this.#asHost()
    this.#asleep = onAwake(() => this.#awake())
    // After this turn, so that listeners hear of everything.
    queueMicrotask(() => void this.#attempt())
  }

  get status(): Status {
    return this.#status
  }

  /** Who the server says this is; null before the first `welcome`. */
  get user(): User | null {
    return this.#identification.user
  }

  /** Why it is over; null while it is not. */
  get closeReason(): CloseReason | null {
    return this.#closeReason
  }

  /** Says hello as the same person later. Keep it to let a guest come back under the same id. */
  get resume(): string | null {
    return this.#identification.resume
  }

  /** The client id in use; null until the store has handed one out. */
  get id(): Uuid | null {
    return this.#ledger.client
  }

  /** The node that serves this client. */
  get node(): string | null {
    return this.#welcome?.node ?? null
  }

  get limits(): Readonly<Limits> {
    return this.#active?.limits ?? DEFAULT_LIMITS
  }

  /** How many own ops wait for their answer, in all rooms. */
  get unanswered(): number {
    return [...this.#rooms.values()].reduce((sum, room) => sum + room.unanswered, 0)
  }

  /** Joins a room, now or as soon as there is a connection, and again after every reconnect. */
  join(id: Uuid, options: JoinOptions = {}): Room {
    const key = id.toLowerCase()
    const known = this.#rooms.get(key)
    if (known) {
      known.want(options)
      return known
    }
    const room = new Room(this.#host, key, options, true)
    if (this.#status === 'closed') room.close(closedError())
    else if (options.snapshotFrom === 'http' && !options.cached) void this.#admitByHttp(room)
    else this.#admit(room)
    return room
  }

  /** Says whether somebody uses this device right now: by that others see a signed-in person online or away. */
  setActive(active: boolean): void {
    if (this.#inUse === active || this.#options.audience) return
    this.#inUse = active
    for (const connection of [this.#active, this.#next]) if (connection?.ready) this.#sendActivity(connection)
  }

  /** The end. Ops without an answer are refused with `closed`; a store keeps them for the next visit. */
  close(): void {
    this.#close({ code: 1000, reason: 'closed by the application' })
  }

  // ---- connecting -------------------------------------------------------------------------------------------------

  /** Makes the active connection. What goes wrong is reported, and tried again later. */
  async #attempt(): Promise<void> {
    if (this.#attempting || this.#active || this.#status === 'closed') return
    this.#clock.clearTimeout(this.#retry)
    this.#attempting = true
    try {
      await this.#identify()
      // `close` may have been called meanwhile.
      if (this.#over()) this.#ledger.release()
      else this.#active = this.#connect()
    } catch (error) {
      this.#report(asError(error, 'unreachable'))
      this.#setStatus('offline')
      this.#attemptAfter(this.#backoff.next())
    } finally {
      this.#attempting = false
    }
  }

  /** Credentials that are good for a while, and a client id. */
  async #identify(): Promise<void> {
    await this.#identification.ready()
    if (this.#ledger.client) return
    // Where ops turned out to be those of somebody else, the next queue is a new one.
    const left = await this.#ledger.open(this.user ? undefined : this.#presumedOwner())
    for (const [id, ops] of left) this.#roomFor(id).restore(ops)
    this.#ledger.nameWaiting()
  }

  #connect(): Connection {
    const { codec, url } = this.#options
    const hello: Hello = {
      ...this.#identification.hello(this.#ledger.client!),
      ...(this.#options.audience && { audience: true }),
      ...(this.#compressed && { compression: ['deflate'] }),
    }
    return new Connection(
      { url, WebSocket: this.#WebSocket, codec: codecNamed(codec ?? 'msgpack'), hello, clock: this.#clock },
      {
        welcomed: (connection, welcome) => this.#welcomed(connection, welcome),
        pushed: (connection, message) => this.#pushed(connection, message),
        failed: (_, error) => this.#failed(error),
        ended: (connection, ending) => this.#ended(connection, ending),
      },
    )
  }

  #welcomed(connection: Connection, welcome: Welcome): void {
    this.#onlineSince = this.#clock.now()
    this.#welcome = welcome
    this.#identification.welcomed(welcome)
    if (!this.#inUse) this.#sendActivity(connection)
    if (connection === this.#active && this.#ledger.isOfAnother(this.#owner())) return this.#putBack(connection)
    this.#refresher.schedule()
    if (connection === this.#next) return this.#moveRooms(connection)
    this.#setStatus('online')
    this.emit('welcome', welcome)
    for (const room of [...this.#rooms.values()]) room.attach(connection)
    this.#deliverOnce()
  }

  #pushed(connection: Connection, message: ServerMessage): void {
    if (message.type === 'ping') {
      for (const { room, seq } of message.data.heads) this.#rooms.get(room)?.head(connection, seq)
    } else if (message.type === 'reconnect') this.#goElsewhere(connection, message.data)
    else if (message.type === 'error') this.#report(EnfiladeError.from(message.data))
    else if (isOfRoom(message)) this.#rooms.get(message.data.room)?.take(connection, message)
  }

  #failed(error: EnfiladeError): void {
    if (error.code === 'snapshot_unreadable') this.#compressed = false
    this.#report(error)
  }

  #ended(connection: Connection, ending: Ending): void {
    for (const room of this.#rooms.values()) room.detach(connection)
    if (connection === this.#next) return this.#nextEnded(ending)
    if (connection !== this.#active) return
    this.#clock.clearTimeout(this.#takeover)
    this.#active = this.#next
    this.#next = null
    if (this.#active) return this.#succeed(this.#active)
    this.#comeBack(ending)
  }

  /** What the code of the close asks for. */
  #comeBack({ code, reason, refusal }: Ending): void {
    const welcomed = this.#status === 'online'
    const advice = verdict(code)
    if (refusal) this.#report(refusal)
    if (advice === 'never' && !(refusal && this.#mayHoldNextTime(refusal))) return this.#close({ code, reason })
    if (advice === 'scratch') for (const room of this.#rooms.values()) room.forgetState()
    if (advice === 'refresh' || (refusal && !invitesRetry(refusal))) this.#identification.drop()
    if (welcomed && this.#clock.now() - this.#onlineSince >= STABLE_MS) this.#backoff.reset()
    // A server that says goodbye before it said welcome is not to be hammered.
    const atOnce = welcomed && (advice === 'now' || advice === 'refresh')
    this.#setStatus(atOnce ? 'connecting' : 'offline')
    if (atOnce) void this.#attempt()
    else this.#attemptAfter(Math.max(refusal?.retryAfterMs ?? 0, this.#backoff.next()))
  }

  /** Old credentials may have run out; fresh ones that do not hold are the end. */
  #mayHoldNextTime(refusal: EnfiladeError): boolean {
    return invitesRetry(refusal) || !this.#identification.fresh
  }

  #attemptAfter(ms: number): void {
    this.#clock.clearTimeout(this.#retry)
    if (this.#status !== 'closed') this.#retry = this.#clock.setTimeout(() => void this.#attempt(), ms)
  }

  /** The network is back, or somebody looks at the page again. */
  #awake(): void {
    if (!this.#active) return void this.#attempt()
    if (!this.#active.ready) return
    // Any answer will do; that of a join also brings what was missed.
    const asked = [...this.#rooms.values()].some((room) => room.line === this.#active && room.check())
    if (asked) this.#active.probe()
  }

  #close(reason: CloseReason): void {
    if (this.#status === 'closed') return
    for (const timer of [this.#retry, this.#takeover]) this.#clock.clearTimeout(timer)
    this.#refresher.stop()
    this.#asleep()
    this.#deliveries?.stop()
    const connections = [this.#next, this.#active]
    this.#active = this.#next = null
    this.#closeReason = { code: reason.code, reason: reason.reason }
    this.#status = 'closed'
    for (const room of [...this.#rooms.values()]) room.close(closedError())
    this.#rooms.clear()
    for (const connection of connections) connection?.close()
    if (!this.#attempting) this.#ledger.release()
    this.emit('status', 'closed')
    this.emit('closed', this.#closeReason)
  }

  // ---- make before break ------------------------------------------------------------------------------------------

  /** This node is going away: the second connection is made before the first ends. */
  #goElsewhere(connection: Connection, { after_ms, resume }: { after_ms: number; resume?: string }): void {
    if (connection !== this.#active) return
    this.#identification.resumeWith(resume)
    this.#takeOverAfter(after_ms)
  }

  #takeOverAfter(ms: number): void {
    this.#clock.clearTimeout(this.#takeover)
    this.#takeover = this.#clock.setTimeout(() => {
      if (!this.#next && this.#active) this.#next = this.#connect()
    }, ms)
  }

  /** Every room moves by itself; when the last has an answer, the first connection has done its duty. */
  #moveRooms(next: Connection): void {
    const moving = new Set(this.#rooms.values())
    const moved = (room?: Room): void => {
      if (room) moving.delete(room)
      if (moving.size > 0 || this.#next !== next) return
      const old = this.#active
      this.#active = next
      this.#next = null
      this.emit('welcome', this.#welcome!)
      old?.close('moved')
    }
    for (const room of [...moving]) room.attach(next, () => moved(room))
    moved()
  }

  /** The first connection is gone before the second was done. */
  #succeed(next: Connection): void {
    if (!next.ready) return this.#setStatus('connecting')
    this.emit('welcome', this.#welcome!)
    for (const room of this.#rooms.values()) if (room.line !== next) room.attach(next)
  }

  #nextEnded(ending: Ending): void {
    this.#next = null
    const active = this.#active
    if (!active) return
    for (const room of this.#rooms.values()) if (room.line !== active) room.attach(active)
    if (verdict(ending.code) !== 'never') this.#takeOverAfter(this.#backoff.next())
  }

  // ---- whose ops they are -----------------------------------------------------------------------------------------

  #owner(): QueueOwner {
    if (this.user) return this.user.guest ? 'guest' : this.user.id
    return this.#presumedOwner() ?? 'guest'
  }

  /** Whose ops may be adopted, as far as that can be told before the server says who this is. */
  #presumedOwner(): QueueOwner | undefined {
    const { token } = this.#identification
    return token === undefined ? 'guest' : subjectOf(token)
  }

  /** Ops of somebody else are put back, and this client connects anew under another id. */
  #putBack(connection: Connection): void {
    const own = [...this.#rooms.values()].flatMap((room) => room.submissions.filter(({ sent }) => !sent))
    this.#ledger.forget(own.map(({ opId }) => opId))
    this.#ledger.release()
    this.#active = null
    connection.close()
    for (const room of [...this.#rooms.values()]) room.rename()
    void this.#attempt()
  }

  /** A room that the application may not have asked for, but that has ops to deliver. */
  #roomFor(id: Uuid): Room {
    const known = this.#rooms.get(id)
    if (known) return known
    const room = new Room(this.#host, id, {}, false)
    this.#rooms.set(id, room)
    return room
  }

  /** Ops that other tabs left behind are delivered beside one's own. */
  #deliverOnce(): void {
    if (this.#deliveries) return
    const credentials = (): Promise<Credentials> => this.#identification.same()
    const deliveries = new Deliveries((options) => new Client({ ...this.#options, ...options, credentials }))
    this.#deliveries = deliveries
    const next = async (): Promise<OpQueue | null> => (this.#over() ? null : this.#store.leftBehind(this.#owner()))
    deliveries.run(next).catch((error: unknown) => this.#report(asError(error, 'store_failed')))
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------

  #admit(room: Room): void {
    this.#rooms.set(room.id, room)
    room.release()
    const connection = this.#next?.ready ? this.#next : this.#active
    if (connection?.ready) room.attach(connection)
  }

  /** Begins with a snapshot from HTTP; if there is none to be had, the connection brings it. */
  async #admitByHttp(room: Room): Promise<void> {
    this.#rooms.set(room.id, room)
    room.hold()
    const { origin } = new URL(this.#options.url.replace(/^ws/, 'http'))
    const fetch = this.#options.fetch ?? globalThis.fetch
    try {
      const { token } = await this.#identification.same()
      room.beginWith(await fetchSnapshot({ origin, room: room.id, link: room.link, token, fetch }))
    } catch (error) {
      this.#report(asError(error, 'unreachable'))
    }
    if (this.#rooms.get(room.id) === room) this.#admit(room)
  }

  /** A method, because the compiler takes a field that was compared once for unchanged after an `await`. */
  #over(): boolean {
    return this.#status === 'closed'
  }

  #setStatus(status: Status): void {
    if (this.#status === status || this.#over()) return
    this.#status = status
    this.emit('status', status)
  }

  #report(error: EnfiladeError): void {
    this.emit('error', error)
  }

  /** A server that does not know of this refuses, and nothing is lost. */
  #sendActivity(connection: Connection): void {
    connection.request('activity', { active: this.#inUse }, () => {})
  }

  #sendToken(token: string): void {
    for (const connection of [this.#active, this.#next]) {
      if (!connection?.ready) continue
      connection.request('refresh', { token }, (reply) => {
        if (!(reply instanceof EnfiladeError) || reply.code === 'disconnected') return
        this.#report(reply)
        this.#refresher.again()
      })
    }
  }

  #roomLeft(room: Room): void {
    this.#rooms.delete(room.id)
    if (this.#rooms.size === 0) this.emit('idle', null)
  }

  #asHost(): RoomHost {
    const client = this
    return {
      clock: this.#clock,
      random: this.#random,
      codec: this.#options.codec ?? 'msgpack',
      get limits() {
        return client.limits
      },
      get user() {
        return client.user
      },
      get id() {
        return client.id
      },
      get connection() {
        return client.#active
      },
      keep: (room, entry) => this.#ledger.keep(room, entry, () => this.#owner()),
      forget: (opIds) => this.#ledger.forget(opIds),
      report: (error) => this.#report(error),
      tokenExpired: () => void this.#refresher.now(),
      left: (room) => this.#roomLeft(room),
    }
  }
}

function closedError(): EnfiladeError {
  return new EnfiladeError('closed', 'the client was closed before there was an answer')
}

function isOfRoom(message: ServerMessage): message is RoomMessage {
  return ['ops', 'signals', 'presence', 'reset', 'renamed'].includes(message.type)
}
