/** The one error of this package: a stable code, a message for people, and whether trying again helps. */

import type { ErrorData } from './types.js'

/** Codes that this package gives by itself; all others are the server's (see the table in PROTOCOL.md). */
export type LocalErrorCode =
  /** The client was closed before there was an answer. */
  | 'closed'
  /** The connection was lost before there was an answer; nothing is known about the request. */
  | 'disconnected'
  /** The op was taken back before it was sent. */
  | 'withdrawn'
  /** Too many ops wait for an answer. */
  | 'queue_full'
  /** The message does not fit into a frame. */
  | 'payload_too_large'
  /** Ops could not be written to, or read from, the store of this browser. */
  | 'store_failed'
  /** A compressed snapshot could not be unpacked; the client connects again and asks for plain ones. */
  | 'snapshot_unreadable'
  /** The network, or the server behind it, did not answer at all. */
  | 'unreachable'

export class EnfiladeError extends Error {
  override readonly name = 'EnfiladeError'

  constructor(
    /** Stable; see the table in PROTOCOL.md. */
    readonly code: string,
    message: string,
    /** Present when trying again later helps. */
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
    /** Names the error in the server's log, if it was the server's. */
    readonly traceId?: string,
  ) {
    super(message, options)
  }

  static from(data: ErrorData): EnfiladeError {
    const { code, message, retry_after_ms, trace_id } = data
    return new EnfiladeError(code, message, retry_after_ms ?? undefined, undefined, trace_id ?? undefined)
  }
}

const LATER: ReadonlySet<string> = new Set(['busy', 'rate_limited', 'room_unavailable'])

/** Whether the same request again, later, may succeed. */
export function invitesRetry(error: EnfiladeError): boolean {
  return error.retryAfterMs !== undefined || LATER.has(error.code)
}

/** Whatever was thrown, as an error of this package. */
export function asError(error: unknown, code: LocalErrorCode): EnfiladeError {
  if (error instanceof EnfiladeError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new EnfiladeError(code, message, undefined, { cause: error })
}
