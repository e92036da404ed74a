/** The devices on which a person is signed in, and signing out of them. */

import type { Login } from '@enfilade/client'
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api } from '../state/account'
import { ago } from '../state/ago'
import { deviceName } from '../state/device-name'
import { closeDialog } from '../state/dialogs'
import { wordsFor } from '../state/failure'
import { go } from '../state/navigation'
import { say } from '../state/toast'
import { Dialog } from './dialog'
import { Icon } from './icons'

export function DevicesDialog(): JSX.Element {
  const [logins, setLogins] = useState<Login[]>()
  const [failure, setFailure] = useState<string>()
  const attempt = async (action: () => Promise<unknown>): Promise<void> => {
    try {
      setFailure(undefined)
      await action()
    } catch (error) {
      setFailure(wordsFor(error))
    }
  }
  const load = async (): Promise<void> => setLogins(await api.logins())
  useEffect(() => void attempt(load), [])
  const end = (login: Login) => attempt(() => api.endLogin(login.id).then(load))
  const endAll = () =>
    attempt(async () => {
      await api.signOut({ everywhere: true })
      closeDialog()
      go('/')
      say('You are signed out everywhere.')
    })
  return (
    <Dialog title="Your devices" onClose={closeDialog} narrow>
      <section class="link-list devices">
        <ul>
          {logins?.map((login) => (
            <DeviceRow key={login.id} login={login} onEnd={() => void end(login)} />
          ))}
        </ul>
      </section>
      {failure && (
        <p class="form-failure" role="alert">
          {failure}
        </p>
      )}
      <button type="button" class="button wide" onClick={endAll}>
        Sign out everywhere
      </button>
    </Dialog>
  )
}

function DeviceRow({ login, onEnd }: { login: Login; onEnd: () => void }): JSX.Element {
  const name = deviceName(login.device)
  const online = (login.connections?.length ?? 0) > 0
  return (
    <li>
      <Icon name="person" />
      <span>
        {name}
        <small>
          {online ? 'Online now' : `Last seen ${ago(login.refreshed_at)}`}
          {login.current && ', this device'}
        </small>
      </span>
      {!login.current && (
        <button type="button" class="button small quiet" aria-label={`Sign out on ${name}`} onClick={onEnd}>
          Sign out
        </button>
      )}
    </li>
  )
}
