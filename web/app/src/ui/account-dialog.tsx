/** Signing in and signing up: one dialog with two faces. */

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { api } from '../state/account'
import { closeDialog, dialog } from '../state/dialogs'
import { wordsFor } from '../state/failure'
import { guestName, nameChosen } from '../state/names'
import { say } from '../state/toast'
import { Dialog } from './dialog'

type Face = 'sign-in' | 'sign-up'

/** What the server takes; the browser says so before it is asked. */
const USERNAME = {
  pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]{2,31}',
  maxLength: 32,
  title: '3 to 32 letters, digits, dots, dashes or underscores',
}

export function AccountDialog({ face }: { face: Face }): JSX.Element {
  const [failed, setFailed] = useState<{ face: Face; words: string }>()
  const failure = failed?.face === face ? failed.words : undefined
  const [busy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    setBusy(true)
    setFailed(undefined)
    try {
      const { user } = await enter(face, new FormData(event.target as HTMLFormElement))
      closeDialog()
      say(face === 'sign-up' ? `Welcome, ${user.name}.` : `Good to see you, ${user.name}.`)
    } catch (error) {
      setFailed({ face, words: wordsFor(error) })
    } finally {
      setBusy(false)
    }
  }
  return (
    <Dialog title={face === 'sign-in' ? 'Sign in' : 'Create an account'} onClose={closeDialog} narrow>
      <p class="lead">
        {face === 'sign-in' ? 'Your boards are waiting.' : 'So that your boards find you on every device.'}
      </p>
      <form class="form" onSubmit={submit} key={face}>
        {face === 'sign-up' && <NameField />}
        <label class="field">
          <span>User name</span>
          <input
            name="username"
            required
            {...(face === 'sign-up' && USERNAME)}
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            autofocus
          />
        </label>
        <label class="field">
          <span>Password</span>
          <input
            name="password"
            type="password"
            required
            minLength={face === 'sign-up' ? 8 : 1}
            maxLength={128}
            autocomplete={face === 'sign-up' ? 'new-password' : 'current-password'}
          />
          {face === 'sign-up' && <small>Eight characters or more; a few words make a good one.</small>}
        </label>
        {failure && (
          <p class="form-failure" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" class="button primary wide" disabled={busy}>
          {face === 'sign-in' ? 'Sign in' : 'Create account'}
        </button>
      </form>
      <Otherwise face={face} />
    </Dialog>
  )
}

function NameField(): JSX.Element {
  return (
    <label class="field">
      <span>Your name, as others see it</span>
      <input
        name="name"
        maxLength={64}
        autocomplete="name"
        defaultValue={nameChosen.value ? guestName.value : ''}
        placeholder={guestName.value}
      />
    </label>
  )
}

function Otherwise({ face }: { face: Face }): JSX.Element {
  return face === 'sign-in' ? (
    <p class="otherwise">
      New here?{' '}
      <button type="button" class="text-button" onClick={() => (dialog.value = 'sign-up')}>
        Create an account
      </button>
    </p>
  ) : (
    <p class="otherwise">
      Already have one?{' '}
      <button type="button" class="text-button" onClick={() => (dialog.value = 'sign-in')}>
        Sign in
      </button>
    </p>
  )
}

function enter(face: Face, form: FormData) {
  const field = (name: string) => String(form.get(name) ?? '').trim()
  const who = { username: field('username'), password: String(form.get('password') ?? '') }
  if (face === 'sign-in') return api.signIn(who)
  return api.signUp({ ...who, name: field('name') || guestName.value })
}
