/** Whether one's work is safe, in words that are true. Pure: what is known goes in, what is said comes out. */

import type { RoomState, Status } from '@enfilade/client'

export type Safety = 'opening' | 'saved' | 'saving' | 'reconnecting' | 'offline' | 'refused' | 'viewing'

export interface Indication {
  readonly safety: Safety
  readonly label: string
  readonly explanation: string
}

export interface Known {
  readonly status: Status
  readonly state: RoomState
  /** The connection has been lost for longer than it usually takes to be made again. */
  readonly longLost: boolean
  readonly unanswered: number
  /** Own changes that the server refused, since the person last looked. */
  readonly refused: number
  readonly canEdit: boolean
  readonly everJoined: boolean
  /** One of the audience. */
  readonly watches?: boolean
}

export function indicate(known: Known): Indication {
  const { status, state, longLost, unanswered, refused, canEdit, everJoined, watches } = known
  if (status === 'closed' || (status !== 'online' && longLost)) return offline(unanswered)
  if (!everJoined) return say('opening', 'Opening…', 'Fetching the board.')
  if (status !== 'online' || state !== 'joined') return reconnecting(unanswered)
  if (refused > 0) return refusal(refused)
  if (unanswered > 0) return saving(unanswered)
  if (watches)
    return say('viewing', 'View only', 'You see every change as it happens. You are counted, and not shown by name.')
  if (!canEdit)
    return say('viewing', 'View only', 'You see every change as it happens. With this link you cannot draw.')
  return say('saved', 'Saved', 'Everything you drew is stored on the server.')
}

function reconnecting(unanswered: number): Indication {
  const kept = unanswered === 0 ? 'changes are' : sentence(unanswered)
  return say(
    'reconnecting',
    'Reconnecting…',
    `The connection was lost and is being made again. Keep drawing: ${kept} kept here and will be sent then.`,
  )
}

function offline(unanswered: number): Indication {
  if (unanswered === 0) {
    return say(
      'offline',
      'Offline',
      'The server cannot be reached. Keep drawing: changes are kept and sent once it is back.',
    )
  }
  return say(
    'offline',
    `Offline · ${changes(unanswered)}`,
    `${sentence(unanswered)} kept here and will be sent as soon as the server can be reached. Keep this page open until then.`,
  )
}

function saving(unanswered: number): Indication {
  return say('saving', 'Saving…', `${sentence(unanswered)} on the way to the server.`)
}

function refusal(refused: number): Indication {
  return say(
    'refused',
    `${changes(refused)} refused`,
    `The server did not take ${changes(refused)}; what you see is what is stored. Somebody may have changed the board, or your rights, in between.`,
  )
}

const changes = (count: number): string => (count === 1 ? '1 change' : `${count} changes`)
const sentence = (count: number): string => (count === 1 ? '1 change is' : `${count} changes are`)
const say = (safety: Safety, label: string, explanation: string): Indication => ({ safety, label, explanation })
