/** Those who only watch: when one becomes one of them, and what is said of them. Pure. */

import type { Role } from '@enfilade/client'

/** A board with more people than it lists by name. A viewer more is then one of the audience. */
const CROWD = 200

export interface Present {
  readonly role: Role | null
  readonly count: number
  readonly audience: number
}

/** Whether somebody who may only look had better watch: they cost the others less, and need no name. */
export const hadBetterWatch = ({ role, count, audience }: Present): boolean =>
  role === 'viewer' && count + audience > CROWD

export interface Words {
  /** All of it, for a reader. */
  readonly label: string
  readonly number: string
  /** Where there is little room. */
  readonly short: string
}

const full = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export function wordsOf(audience: number, oneself: boolean): Words {
  return { label: label(audience, oneself), number: full.format(audience), short: compact.format(audience) }
}

function label(audience: number, oneself: boolean): string {
  if (!oneself) return audience === 1 ? '1 person is watching' : `${full.format(audience)} people are watching`
  if (audience <= 1) return 'Only you are watching'
  return audience === 2 ? 'You and 1 other are watching' : `You and ${full.format(audience - 1)} others are watching`
}
