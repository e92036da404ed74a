/** What a guest wants to be called. */

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { closeDialog } from '../state/dialogs'
import { NAME_MAX, tidyName } from '../state/name-rules'
import { chooseName, guestName } from '../state/names'
import { Dialog } from './dialog'

/** `unsaved`: a new name is a new guest, and changes on their way belong to the old one. */
export function NameDialog({ unsaved }: { unsaved: () => number }): JSX.Element {
  const [failure, setFailure] = useState<string>()
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const name = tidyName(String(new FormData(event.target as HTMLFormElement).get('name') ?? ''))
    if (!name) return setFailure('A name needs at least one character that can be seen.')
    if (unsaved() > 0)
      return setFailure('Your last changes are still on their way. Try again when everything is saved.')
    chooseName(name)
    closeDialog()
  }
  return (
    <Dialog title="What shall we call you?" onClose={closeDialog} narrow>
      <p class="lead">The others see this name beside your pointer.</p>
      <form class="form" onSubmit={submit}>
        <label class="field">
          <span>Your name</span>
          <input
            name="name"
            required
            maxLength={NAME_MAX}
            defaultValue={guestName.value}
            autocomplete="nickname"
            autofocus
            onFocus={(event) => event.currentTarget.select()}
          />
        </label>
        {failure && (
          <p class="form-failure" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" class="button primary wide">
          That’s me
        </button>
      </form>
    </Dialog>
  )
}
