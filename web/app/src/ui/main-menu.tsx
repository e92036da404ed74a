/** Everything on a board that is not needed at every moment. */

import type { JSX } from 'preact'
import type { Stage } from '../canvas/stage'
import { api, session as account } from '../state/account'
import { dialog, type DialogName } from '../state/dialogs'
import { exportPng, exportSvg } from '../state/export'
import { wordsFor } from '../state/failure'
import { go } from '../state/navigation'
import { say } from '../state/toast'
import { Icon, type IconName } from './icons'
import { Popover } from './popover'
import { ThemeChoice } from './theme-choice'

export function MainMenu({ stage, title }: { stage: Stage; title: string }): JSX.Element {
  return (
    <Popover label="Menu" button={<Icon name="menu" />}>
      {(close) => {
        const then = (action: () => unknown) => () => {
          close()
          void action()
        }
        return (
          <div class="menu">
            <Item icon="image" label="Save as PNG" onClick={then(() => exportPng(stage, title))} />
            <Item icon="vector" label="Save as SVG" onClick={then(() => exportSvg(stage, title))} />
            <hr />
            <Item icon="fit" label="Everything in sight" onClick={then(() => stage.lookAtEverything())} />
            <Item icon="help" label="Keys and gestures" onClick={then(() => open('help'))} />
            <hr />
            <AccountItems then={then} />
            <Item icon="door" label="All boards" onClick={then(() => go('/'))} />
            <hr />
            <ThemeChoice />
          </div>
        )
      }}
    </Popover>
  )
}

const open = (name: DialogName) => {
  dialog.value = name
}

function AccountItems({ then }: { then: (action: () => unknown) => () => void }): JSX.Element {
  if (account.value) {
    return (
      <>
        <Item icon="person" label="Your devices" onClick={then(() => open('devices'))} />
        <Item icon="exit" label={`Sign out ${account.value.user.name}`} onClick={then(signOut)} />
      </>
    )
  }
  return (
    <>
      <Item icon="person" label="Sign in" onClick={then(() => open('sign-in'))} />
      <Item icon="pen" label="Change my name" onClick={then(() => open('name'))} />
    </>
  )
}

export async function signOut(): Promise<void> {
  try {
    go('/')
    await api.signOut()
    say('You are signed out.')
  } catch (error) {
    say(wordsFor(error), 'bad')
  }
}

function Item({ icon, label, onClick }: { icon: IconName; label: string; onClick: () => void }): JSX.Element {
  return (
    <button type="button" class="menu-item" onClick={onClick}>
      <Icon name={icon} />
      {label}
    </button>
  )
}
