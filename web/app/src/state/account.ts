/** Who is signed in on this page, and the way to the server's REST. */

import { Api, type Session } from '@enfilade/client'
import { signal } from '@preact/signals'
import { forget, isTrue, keep, recall } from './keeping'

export const api = new Api()
export const session = signal<Session | null>(null)
/** True until it is known whether somebody is signed in. */
export const restoring = signal(true)

api.on('session', (current) => {
  session.value = current
  // Without this hint a guest's every visit would begin with a refused request for a token.
  if (current) keep('signed-in', true)
  else forget('signed-in')
})

/** The server ended this login; asking for a new token tells whether anybody is signed in still. */
export function loginEnded(): void {
  api.refresh().catch(() => undefined)
}

/** Resolves when it is known who is here. A server that cannot be reached leaves a guest, and the hint for next time. */
export const restored: Promise<void> = restore()

async function restore(): Promise<void> {
  try {
    if (recall('signed-in', isTrue)) await api.refresh()
  } catch {
    // The board's own connection tells of a server that is gone.
  } finally {
    restoring.value = false
  }
}
