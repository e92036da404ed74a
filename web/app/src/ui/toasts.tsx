/** Shows the last short word. */

import type { JSX } from 'preact'
import { toast } from '../state/toast'
import { Icon } from './icons'

export function Toasts(): JSX.Element {
  const current = toast.value
  return (
    <div class="toasts" role="status">
      {current && (
        <div class={`toast ${current.tone}`} key={current.text}>
          <Icon name={current.tone === 'good' ? 'check' : 'alert'} />
          {current.text}
        </div>
      )}
    </div>
  )
}
