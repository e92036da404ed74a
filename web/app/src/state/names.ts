/** What a guest is called. Everybody gets a friendly name at once, so that nobody has to stop at the door. */

import { signal } from '@preact/signals'
import { isString, keep, onKept, recall } from './keeping'
import { friendlyName, tidyName } from './name-rules'

const kept = recall('name', isString)

/** Whether the person chose the name; a generated one is offered for change. */
export const nameChosen = signal(kept !== undefined)
export const guestName = signal(tidyName(kept ?? '') ?? firstName())

function firstName(): string {
  const before = recall('first-name', isString)
  const name = tidyName(before ?? '') ?? friendlyName()
  if (!before) keep('first-name', name)
  return name
}

export function chooseName(text: string): void {
  const name = tidyName(text)
  if (!name) return
  guestName.value = name
  nameChosen.value = true
  keep('name', name)
}

onKept('name', () => chooseName(recall('name', isString) ?? guestName.value))
