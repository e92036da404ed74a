/**
 * One WebSocket from its opening to its end: says hello, matches replies with requests, puts the messages of one turn
 * into one frame, answers pings, and notices silence. It knows nothing of rooms and never reconnects.
 */

import type { Clock } from './clock.js'
import { type Codec, type Encoded, FRAME_OVERHEAD, type Message, msgpackLength, SEPARATOR_BYTES } from './codec.js'
import { EnfiladeError } from './errors.js'
import { isPacked, unpack } from './packed.js'
import { Pacer } from './pacer.js'
import { DEFAULT_LIMITS, type Hello, type Limits, type Requests, type ServerMessage, type Welcome } from './types.js'

/** The part of a WebSocket that is used here: that of browsers, and of the `ws` package. */
export interface Socket {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: string | Uint8Array): void
  close(code?: number, reason?: string): void
}

/** The constructor of a WebSocket. */
export type SocketConstructor = new (url: string, protocols: string[]) => Socket

/** What answers a request: a message, or why not. */
export type Reply = Exclude<ServerMessage, { type: 'error' }> | EnfiladeError
export type OnReply = (reply: Reply) => void

/** How a connection ended. */
export interface Ending {
  code: number
  reason: string
  /** Why `hello` was refused, if it was. */
  refusal?: EnfiladeError
}

export interface ConnectionHandler {
  welcomed(connection: Connection, welcome: Welcome): void
  /** A message that answers nothing. */
  pushed(connection: Connection, message: ServerMessage): void
  /** A frame that could not be read; the connection goes on, unless it was a snapshot that cannot be unpacked. */
  failed(connection: Connection, error: EnfiladeError): void
  /** Once, and the last that is heard of it. */
  ended(connection: Connection, ending: Ending): void
}

export interface ConnectionOptions {
  url: string
  WebSocket: SocketConstructor
  codec: Codec
  hello: Hello
  clock: Clock
}

/** From opening to `welcome`. */
const GREETING_MS = 10_000
/** What silence is forgiven beyond the interval of the pings. */
const SILENCE_GRACE_MS = 10_000
/** How long a connection that is suspected dead has to say anything. */
const PROBE_MS = 5_000
/** So much unsent means that the network does not keep up. */
const CONGESTED_BYTES = 128 * 1_024

export class Connection {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #clock: Clock
  readonly #handler: ConnectionHandler
  readonly #replies = new Map<number, OnReply>()
  #phase: 'opening' | 'greeting' | 'ready' | 'ended' = 'opening'
  #lastId = 0
  #turn: Encoded[] = []
  #heardAt: number
  #silenceMs = GREETING_MS
  #watch: unknown
  #announced: Ending | null = null
  #refusal: EnfiladeError | undefined
  /** A snapshot is being unpacked: what came after it waits. */
  #unpacking = false
  readonly #held: ServerMessage[] = []
  limits: Limits = DEFAULT_LIMITS
  /** Ops and signals that may still go now, over all rooms. */
  opPacer: Pacer
  signalPacer: Pacer

  constructor(options: ConnectionOptions, handler: ConnectionHandler) {
    const { clock, codec, hello, url } = options
    this.#clock = clock
    this.#codec = codec
    this.#handler = handler
    this.#heardAt = clock.now()
    this.opPacer = new Pacer(this.limits.ops_per_second, clock.now())
    this.signalPacer = new Pacer(this.limits.signals_per_second, clock.now())
    this.#socket = new options.WebSocket(url, [codec.subprotocol])
    this.#socket.binaryType = 'arraybuffer'
    this.#socket.onopen = () => this.#greet(hello)
    this.#socket.onmessage = (event: { data: string | ArrayBuffer }) => this.#received(event.data)
    this.#socket.onclose = (event: { code: number; reason: string }) => this.#end(event)
    // An error is always followed by a close, which tells more.
    this.#socket.onerror = () => {}
    this.#watchFor(GREETING_MS)
  }

  get ready(): boolean {
    return this.#phase === 'ready'
  }

  get ended(): boolean {
    return this.#phase === 'ended'
  }

  /** What is to be sent piles up; signals should wait. */
  get congested(): boolean {
    return this.#socket.bufferedAmount > CONGESTED_BYTES
  }

  /**
   * Sends a request whose reply matters. `onReply` is called exactly once, in the order in which the server's messages
   * arrived; with the code `disconnected` if the connection ends first.
   */
  request<Type extends keyof Requests>(type: Type, data: Requests[Type], onReply: OnReply): void {
    if (this.#phase === 'ended') return onReply(disconnected())
    const id = this.#nextId()
    const problem = this.#enqueue({ id, type, data } as Message)
    if (problem) onReply(problem)
    else this.#replies.set(id, onReply)
  }

  /** Sends a signal. Throws when its body is too large. */
  signal(data: Requests['signal']): void {
    if (this.#phase !== 'ready') return
    if (msgpackLength(data.body) > this.limits.signal_bytes) {
      throw new EnfiladeError('invalid_request', `the body of a signal has at most ${this.limits.signal_bytes} bytes`)
    }
    const problem = this.#enqueue({ type: 'signal', data })
    if (problem) throw problem
  }

  /** Ends the connection from here. The handler hears of it; whoever waits for a reply gets `disconnected`. */
  close(reason = ''): void {
    if (this.#phase === 'ended') return
    this.#flush()
    this.#socket.close(1000, reason)
    this.#end({ code: 1000, reason })
  }

  /** The page was away, or the network changed: unless something is heard soon, the connection is dead. */
  probe(): void {
    if (this.#phase === 'ready') this.#watchFor(Math.min(PROBE_MS, this.#quietMs()))
  }

  #greet(hello: Hello): void {
    if (this.#phase !== 'opening') return
    this.#phase = 'greeting'
    this.request('hello', hello, (reply) => this.#greeted(reply))
    this.#flush()
  }

  #greeted(reply: Reply): void {
    if (this.#phase === 'ended') return
    if (reply instanceof EnfiladeError) {
      // The server closes now; should it not, the watch does.
      this.#refusal = reply
      return
    }
    if (reply.type !== 'welcome') return
    const { limits, ping_ms } = reply.data
    this.#phase = 'ready'
    this.limits = { ...DEFAULT_LIMITS, ...limits }
    this.opPacer = new Pacer(this.limits.ops_per_second, this.#clock.now())
    this.signalPacer = new Pacer(this.limits.signals_per_second, this.#clock.now())
    this.#silenceMs = ping_ms + SILENCE_GRACE_MS
    this.#watchFor(this.#quietMs())
    this.#handler.welcomed(this, reply.data)
  }

  #received(frame: string | ArrayBuffer): void {
    this.#heardAt = this.#clock.now()
    let messages: Message[]
    try {
      messages = this.#codec.decode(frame)
    } catch (error) {
      return this.#handler.failed(this, error as EnfiladeError)
    }
    for (const message of messages as ServerMessage[]) {
      if (message.type === 'closing') this.#announced = message.data
      this.#held.push(message)
    }
    this.#takeHeld()
  }

  /** Takes what has come, in order, up to a snapshot that has to be unpacked first. */
  #takeHeld(): void {
    while (!this.#unpacking && this.#phase !== 'ended') {
      const message = this.#held.shift()
      if (!message) return
      if (isPacked(message)) void this.#unpack(message)
      else this.#take(message)
    }
  }

  async #unpack(packed: Parameters<typeof unpack>[0]): Promise<void> {
    this.#unpacking = true
    let message: ServerMessage
    try {
      message = await unpack(packed)
    } catch (cause) {
      return this.#unreadable(cause)
    }
    this.#unpacking = false
    if (this.#phase === 'ended') return
    this.#take(message)
    this.#takeHeld()
  }

  /** Without its snapshot nothing that follows makes sense. */
  #unreadable(cause: unknown): void {
    if (this.#phase === 'ended') return
    const reason = 'a compressed snapshot could not be unpacked'
    this.#handler.failed(this, new EnfiladeError('snapshot_unreadable', reason, undefined, { cause }))
    this.#socket.close(1000, 'unreadable')
    this.#end({ code: 1006, reason })
  }

  #take(message: ServerMessage): void {
    if (message.type === 'ping') this.#enqueue({ type: 'pong', data: {} })
    const onReply = message.id === undefined ? undefined : this.#replies.get(message.id)
    if (!onReply) return this.#handler.pushed(this, message)
    this.#replies.delete(message.id!)
    onReply(message.type === 'error' ? EnfiladeError.from(message.data) : message)
  }

  #enqueue(message: Message): EnfiladeError | undefined {
    let encoded: Encoded
    try {
      encoded = this.#codec.encode(message)
    } catch (cause) {
      return new EnfiladeError('invalid_request', (cause as Error).message, undefined, { cause })
    }
    if (encoded.bytes > this.limits.frame_bytes) {
      // Sent, it would close the connection for good.
      return new EnfiladeError('payload_too_large', `a message has at most ${this.limits.frame_bytes} bytes`)
    }
    if (this.#turn.length === 0) queueMicrotask(() => this.#flush())
    this.#turn.push(encoded)
    return undefined
  }

  #flush(): void {
    const turn = this.#turn
    this.#turn = []
    if (this.#phase === 'ended') return
    for (const messages of intoFrames(turn, this.limits)) this.#socket.send(this.#codec.frame(messages))
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) % 2 ** 32
    while (this.#replies.has(this.#lastId))
    return this.#lastId
  }

  /** How long it may still be quiet, from now. */
  #quietMs(): number {
    return this.#heardAt + this.#silenceMs - this.#clock.now()
  }

  #watchFor(ms: number): void {
    const since = this.#heardAt
    this.#clock.clearTimeout(this.#watch)
    this.#watch = this.#clock.setTimeout(() => {
      // A greeting has a deadline of its own; later anything heard is a sign of life.
      const alive = this.#phase === 'ready' && this.#heardAt > since && this.#quietMs() > 0
      if (alive) return this.#watchFor(this.#quietMs())
      this.#socket.close(1000, 'silent')
      this.#end({ code: 1006, reason: 'nothing was heard from the server' })
    }, ms)
  }

  #end({ code, reason }: Ending): void {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.#clock.clearTimeout(this.#watch)
    // `ws` throws errors that nobody listens to, so `onerror` stays.
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null
    const waiting = [...this.#replies.values()]
    this.#replies.clear()
    this.#held.length = 0
    for (const onReply of waiting) onReply(disconnected())
    // Proxies lose codes, so what was announced counts.
    const ending: Ending = { code: this.#announced?.code ?? code, reason: this.#announced?.reason ?? reason }
    if (this.#refusal) ending.refusal = this.#refusal
    this.#handler.ended(this, ending)
  }
}

/** Splits the messages of a turn into as few frames as the limits allow, in order. */
export function intoFrames(turn: readonly Encoded[], limits: Limits): Encoded[][] {
  const frames: Encoded[][] = []
  let room = -1
  for (const message of turn) {
    const needed = message.bytes + SEPARATOR_BYTES
    let frame = frames.at(-1)
    if (!frame || needed > room || frame.length === limits.messages_per_frame) {
      frames.push((frame = []))
      room = limits.frame_bytes - FRAME_OVERHEAD
    }
    frame.push(message)
    room -= needed
  }
  return frames
}

function disconnected(): EnfiladeError {
  return new EnfiladeError('disconnected', 'the connection was lost before there was an answer')
}
