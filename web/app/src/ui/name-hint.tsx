/** Tells a guest once by what name the others know them. One can draw at once, and choose a name when one likes. */

import { signal } from '@preact/signals'
import type { JSX } from 'preact'
import { session as account } from '../state/account'
import { dialog } from '../state/dialogs'
import { isTrue, keep, recall } from '../state/keeping'
import { guestName, nameChosen } from '../state/names'
import { Icon } from './icons'

const told = signal(recall('name-told', isTrue) ?? false)

function enough(): void {
  told.value = true
  keep('name-told', true)
}

export function NameHint(): JSX.Element | null {
  if (told.value || nameChosen.value || account.value) return null
  const choose = () => {
    enough()
    dialog.value = 'name'
  }
  return (
    <aside class="name-hint" aria-label="Who you are here">
      <p>
        You are here as <strong>{guestName.value}</strong>.
      </p>
      <button type="button" class="button small" onClick={choose}>
        Change
      </button>
      <button
        type="button"
        class="icon-button small"
        aria-label="Keep this name"
        title="Keep this name"
        onClick={enough}
      >
        <Icon name="close" />
      </button>
    </aside>
  )
}
