/** A guest who comes back under the same name is the same guest: their strokes stay theirs. */

import type { Welcome } from '@enfilade/client'
import { forget, keep, recall } from './keeping'

interface Kept {
  readonly name: string
  readonly resume: string
}

function isKept(value: unknown): value is Kept {
  const kept = value as Kept | null
  return typeof kept === 'object' && typeof kept?.name === 'string' && typeof kept?.resume === 'string'
}

export function keepResume({ user, resume }: Welcome): void {
  // An audience has neither, and leaves the guest of this browser as they are.
  if (!user || !resume) return
  if (user.guest) keep('guest', { name: user.name, resume })
  else forget('guest')
}

export function resumeFor(name: string): string | undefined {
  const kept = recall('guest', isKept)
  return kept?.name === name ? kept.resume : undefined
}
