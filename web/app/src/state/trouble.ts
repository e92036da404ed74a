/** When a board cannot be shown: why, in words, and what one can do. Pure. */

import type { CloseReason, EnfiladeError } from '@enfilade/client'

import { referenceOf } from './failure'

export type TroubleKind =
  'missing' | 'revoked' | 'needs-link' | 'signed-out' | 'unavailable' | 'gone' | 'wrong-kind' | 'full'

export interface Trouble {
  readonly kind: TroubleKind
  readonly title: string
  readonly words: string
  /** Whether asking again, as things are, may help. */
  readonly retry: boolean
  /** What finds it in the server's log, if something is wrong there. */
  readonly reference?: string
}

const TROUBLES: Readonly<Record<TroubleKind, Omit<Trouble, 'kind'>>> = {
  missing: {
    title: 'No room behind this door',
    words:
      'There is no board at this address, or it is not shared with you. Perhaps the link was cut short on its way here.',
    retry: false,
  },
  revoked: {
    title: 'This link has been taken back',
    words: 'Whoever shared the board has revoked the link you came through. Ask them for a new one.',
    retry: false,
  },
  'needs-link': {
    title: 'This room is private',
    words: 'You need a link from its owner to come in, or to be signed in as somebody who may.',
    retry: false,
  },
  'signed-out': {
    title: 'You signed out',
    words:
      'You signed out in another tab or on another device, so this one has closed its door, too. Sign in to go on.',
    retry: true,
  },
  unavailable: {
    title: 'This room is being looked after',
    words:
      'Something is wrong with this board, and it was set aside so that nothing gets lost. Try again in a little while.',
    retry: true,
  },
  gone: {
    title: 'The server has gone quiet',
    words: 'It cannot be reached right now. We keep knocking and open the board as soon as it answers.',
    retry: true,
  },
  'wrong-kind': {
    title: 'Not a board',
    words: 'There is a room at this address, but not one to draw in.',
    retry: false,
  },
  full: {
    title: 'Too many doors open',
    words: 'This connection has opened as many rooms as it may. Close a few and try again.',
    retry: true,
  },
}

const BY_CODE: Readonly<Record<string, TroubleKind>> = {
  room_not_found: 'missing',
  not_found: 'missing',
  invalid_request: 'missing',
  link_invalid: 'revoked',
  forbidden: 'needs-link',
  unauthenticated: 'signed-out',
  room_unavailable: 'unavailable',
  too_many_rooms: 'full',
}

const CLOSES: Readonly<Record<number, TroubleKind>> = { 4500: 'signed-out', 4501: 'signed-out', 4502: 'revoked' }

export const trouble = (kind: TroubleKind): Trouble => ({ kind, ...TROUBLES[kind] })

/** Why a join was refused; undefined where the reason is none of these and trying goes on. */
export function troubleOfRefusal({ code, traceId }: Pick<EnfiladeError, 'code' | 'traceId'>): Trouble {
  const told = trouble(BY_CODE[code] ?? 'unavailable')
  const reference = told.kind === 'unavailable' ? referenceOf(traceId) : undefined
  return reference === undefined ? told : { ...told, reference }
}

/** Why the connection ended for good. */
export const troubleOfClose = ({ code }: CloseReason): Trouble => trouble(CLOSES[code] ?? 'gone')
