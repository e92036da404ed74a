/** The keys. */

import type { JSX } from 'preact'
import { closeDialog } from '../state/dialogs'
import { SHORTCUTS } from '../tools/keys'
import { Dialog } from './dialog'

const MOD = /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl'

export function HelpDialog(): JSX.Element {
  return (
    <Dialog title="Keys and gestures" onClose={closeDialog} narrow>
      <dl class="keys">
        {SHORTCUTS.map(([keys, meaning]) => (
          <div key={meaning}>
            <dt>{meaning}</dt>
            <dd>
              {keys.map((key) => (
                <kbd key={key}>{key === 'mod' ? MOD : key}</kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
      <p class="hint">On a touch screen, two fingers move and zoom. With a pen, one finger moves and the pen draws.</p>
    </Dialog>
  )
}
