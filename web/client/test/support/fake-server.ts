/**
 * A server that speaks PROTOCOL.md from memory, with the switches that make it fail in all the ways a server can.
 *
 * It talks through `Wire`s: in-memory sockets here, real ones in `socket.test.ts`.
 */

import { type Codec, codecNamed } from '../../src/codec.js'
import type { Socket } from '../../src/connection.js'
import { newClientId } from '../../src/ids.js'
import { BoardState } from '../../src/board-state.js'
import {
  type ClientMessage,
  DEFAULT_LIMITS,
  type Element,
  type Json,
  type Limits,
  type LoggedOp,
  type Member,
  type Op,
  type Role,
  type ServerMessage,
  type Uuid,
} from '../../src/types.js'

export interface Wire {
  deliver(frame: string | Uint8Array): void
  close(code: number, reason: string): void
}

interface FakeRoom {
  id: Uuid
  title: string
  epoch: number
  log: LoggedOp[]
  answers: Map<string, number>
  /** Joins further back than this get a snapshot. */
  bridgesFrom: number
}

type Data<Type extends ClientMessage['type']> = Extract<ClientMessage, { type: Type }>['data']

export class FakeServer {
  readonly url = 'ws://fake.test/ws'
  readonly rooms = new Map<Uuid, FakeRoom>()
  /** Every connection there ever was. */
  readonly connections: FakeConnection[] = []
  limits: Limits = { ...DEFAULT_LIMITS }
  pingMs = 25_000
  role: Role = 'editor'
  /** Whether a connection can be made at all. */
  reachable = true
  /** Returns true to have handled a message itself. */
  intercept: (connection: FakeConnection, message: ClientMessage) => boolean = () => false
  #guests = 0

  get open(): FakeConnection[] {
    return this.connections.filter(({ closed }) => !closed)
  }

  /** The connection that was made last. */
  get last(): FakeConnection {
    const last = this.connections.at(-1)
    if (!last) throw new Error('nobody has connected')
    return last
  }

  room(id: Uuid): FakeRoom {
    let room = this.rooms.get(id)
    if (!room) {
      room = { id, title: 'Sketches', epoch: 3, log: [], answers: new Map(), bridgesFrom: 0 }
      this.rooms.set(id, room)
    }
    return room
  }

  /** What the ops of a room come to, by plain replay. */
  state(id: Uuid): BoardState {
    const state = new BoardState()
    this.room(id).log.forEach(({ op, author }, i) => state.apply(op, { seq: i + 1, author }))
    return state
  }

  elements(id: Uuid): Element[] {
    return [...this.state(id).elements.values()].sort((a, b) => (a.element < b.element ? -1 : 1))
  }

  accept(wire: Wire, codec: Codec): FakeConnection {
    const connection = new FakeConnection(this, wire, codec)
    this.connections.push(connection)
    return connection
  }

  newGuest(name: string): { id: Uuid; name: string; guest: boolean } {
    const n = (++this.#guests).toString(16).padStart(12, '0')
    return { id: `00000000-0000-4000-8000-${n}`, name, guest: true }
  }

  /** Somebody adds an op to a room; every member is told. */
  append(roomId: Uuid, logged: Omit<LoggedOp, 'at'>): number {
    const room = this.room(roomId)
    room.log.push({ ...logged, at: 1_767_225_600_000 })
    const seq = room.log.length
    for (const connection of this.open) if (connection.joined.has(roomId)) connection.tellOps(room, seq)
    return seq
  }

  /** As `append`, of somebody who is not here. */
  somebody(roomId: Uuid, op: Op, author = SOMEBODY): number {
    return this.append(roomId, { author, client: SOMEBODYS_CLIENT, op_id: this.room(roomId).log.length + 1, op })
  }
}

export const SOMEBODY = '99999999-0000-4000-8000-000000000001'
export const SOMEBODYS_CLIENT = '99999999-0000-4000-8000-000000000002'

export class FakeConnection {
  readonly received: ClientMessage[] = []
  /** How many messages each frame had. */
  readonly frames: number[] = []
  readonly joined = new Set<Uuid>()
  closed = false
  /** While deaf, nothing is read; while mute, nothing is sent. */
  deaf = false
  mute = false
  client: Uuid | null = null
  user: { id: Uuid; name: string; guest: boolean } | null = null
  audience = false

  constructor(
    readonly server: FakeServer,
    readonly wire: Wire,
    readonly codec: Codec,
  ) {}

  ofType<Type extends ClientMessage['type']>(type: Type): Data<Type>[] {
    return this.received.filter((message) => message.type === type).map(({ data }) => data as Data<Type>)
  }

  take(frame: string | Uint8Array): void {
    if (this.closed || this.deaf) return
    const messages = this.codec.decode(frame) as ClientMessage[]
    this.frames.push(messages.length)
    for (const message of messages) {
      this.received.push(message)
      if (!this.closed && !this.server.intercept(this, message)) this.#answer(message)
    }
  }

  send(...messages: ServerMessage[]): void {
    if (this.closed || this.mute) return
    this.wire.deliver(this.codec.frame(messages.map((message) => this.codec.encode(message))))
  }

  reply(id: number | undefined, message: Omit<ServerMessage, 'id'>): void {
    this.send({ ...message, ...(id !== undefined && { id }) } as ServerMessage)
  }

  refuse(id: number | undefined, code: string, retry_after_ms?: number): void {
    this.reply(id, {
      type: 'error',
      data: { code, message: `refused: ${code}`, ...(retry_after_ms !== undefined && { retry_after_ms }) },
    })
  }

  close(code: number, reason = ''): void {
    if (this.closed) return
    this.closed = true
    this.wire.close(code, reason)
  }

  /** The other side is gone. */
  gone(): void {
    this.closed = true
  }

  ping(): void {
    const heads = [...this.joined].map((room) => ({ room, seq: this.server.room(room).log.length }))
    this.send({ type: 'ping', data: { heads } })
  }

  signal(room: Uuid, key: string, body: Json, author = SOMEBODY, client = SOMEBODYS_CLIENT): void {
    this.send({ type: 'signals', data: { room, signals: [{ author, client, key, body }] } })
  }

  /** Tells the ops from `first` on. */
  tellOps(room: FakeRoom, first: number): void {
    this.send({ type: 'ops', data: { room: room.id, epoch: room.epoch, first_seq: first, ops: room.log.slice(first - 1) } })
  }

  #answer({ id, type, data }: ClientMessage): void {
    if (type === 'hello') return this.#hello(id, data as Data<'hello'>)
    if (!this.user && !this.audience) return this.refuse(id, 'hello_required')
    if (type === 'join') return this.#join(id, data as Data<'join'>)
    if (type === 'submit') return this.#submit(id, data as Data<'submit'>)
    if (type === 'leave') this.joined.delete((data as Data<'leave'>).room)
    if (type !== 'signal' && type !== 'pong') this.reply(id, { type: 'ok', data: {} })
  }

  #hello(id: number | undefined, { client, resume, token, guest, audience }: Data<'hello'>): void {
    const known = resume?.startsWith('resume-') ? resume.slice('resume-'.length) : undefined
    const person = token ? { id: subject(token), name: 'Ada', guest: false } : undefined
    const resumed = known ? { id: known, name: 'Ada', guest: !person } : undefined
    const user = resumed ?? person ?? (guest && !audience && this.server.newGuest(guest.name))
    if (audience) {
      this.audience = true
      const { limits, pingMs } = this.server
      const known = user && { user, resume: `resume-${user.id}` }
      return this.reply(id, { type: 'welcome', data: { ...known, node: 'a1b2c3', ping_ms: pingMs, limits } })
    }
    if (!user) {
      this.refuse(id, 'unauthenticated')
      return this.close(4500, 'unauthenticated')
    }
    this.client = client
    this.user = user
    const { limits, pingMs } = this.server
    const data = { user, node: 'a1b2c3', ping_ms: pingMs, resume: `resume-${user.id}`, limits }
    this.reply(id, { type: 'welcome', data })
  }

  #join(id: number | undefined, { room: roomId, since }: Data<'join'>): void {
    const room = this.server.room(roomId)
    const position = { epoch: room.epoch, seq: room.log.length }
    const bridged = since && since.seq <= position.seq && since.seq >= room.bridgesFrom
    const role = this.audience ? 'viewer' : this.server.role
    const members: Member[] = this.user && !this.audience ? [{ id: this.user.id, name: this.user.name, role }] : []
    const audience = this.server.open.filter((connection) => connection.audience).length
    this.joined.add(roomId)
    this.reply(id, {
      type: 'joined',
      data: {
        room: roomId,
        kind: 'board',
        title: room.title,
        role,
        position,
        ...(bridged ? { ops: room.log.slice(since.seq) } : this.#whole(room)),
        presence: { count: members.length, members, ...(audience > 0 && { audience }) },
      },
    })
  }

  /** A snapshot of a while ago, and the ops since. */
  #whole(room: FakeRoom): object {
    const seq = Math.max(0, room.log.length - 2)
    const state = new BoardState()
    room.log.slice(0, seq).forEach(({ op, author }, i) => state.apply(op, { seq: i + 1, author }))
    return { snapshot: state.snapshot(), ops: room.log.slice(seq) }
  }

  #submit(id: number | undefined, { room: roomId, op_id, op }: Data<'submit'>): void {
    if (!this.joined.has(roomId)) return this.refuse(id, 'not_joined')
    if (this.server.role === 'viewer' || this.audience) return this.refuse(id, 'forbidden')
    const room = this.server.room(roomId)
    const name = `${this.client} ${op_id}`
    let seq = room.answers.get(name)
    if (seq === undefined) {
      seq = this.server.append(roomId, { author: this.user!.id, client: this.client!, op_id, op })
      room.answers.set(name, seq)
    }
    this.reply(id, { type: 'accepted', data: { seq } })
  }
}

function subject(token: string): Uuid {
  return (JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { sub: Uuid }).sub
}

/** An unsigned token, as good as any to a client. */
export function fakeToken(sub: Uuid, expiresAt: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ sub, exp: Math.floor(expiresAt / 1_000), nonce: newClientId() })}.`
}

/** The constructor of in-memory sockets to a server. Frames arrive in order, one per microtask. */
export function socketsTo(server: FakeServer): new (url: string, protocols: string[]) => Socket {
  return class implements Socket {
    binaryType = ''
    bufferedAmount = 0
    onopen: ((event: never) => void) | null = null
    onmessage: ((event: never) => void) | null = null
    onclose: ((event: never) => void) | null = null
    onerror: ((event: never) => void) | null = null
    #connection: FakeConnection | null = null

    constructor(_url: string, [protocol]: string[]) {
      queueMicrotask(() => {
        if (!server.reachable) return this.onclose?.({ code: 1006, reason: '' } as never)
        this.#connection = server.accept(
          {
            deliver: (frame) => queueMicrotask(() => this.onmessage?.({ data: asMessage(frame) } as never)),
            close: (code, reason) => queueMicrotask(() => this.onclose?.({ code, reason } as never)),
          },
          codecNamed(protocol === 'enfilade.v1.json' ? 'json' : 'msgpack'),
        )
        this.onopen?.({} as never)
      })
    }

    send(frame: string | Uint8Array): void {
      const connection = this.#connection
      queueMicrotask(() => connection?.take(frame))
    }

    close(): void {
      const connection = this.#connection
      queueMicrotask(() => connection?.gone())
    }
  }
}

function asMessage(frame: string | Uint8Array): string | ArrayBuffer {
  return typeof frame === 'string' ? frame : (frame.slice().buffer as ArrayBuffer)
}
