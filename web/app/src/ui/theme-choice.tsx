/** Light, dark, or as the system has it. */

import type { JSX } from 'preact'
import { prefer, preference } from '../state/theme'
import { Icon } from './icons'

const CHOICES = [
  ['light', 'sun', 'Light'],
  ['system', 'system', 'As the system'],
  ['dark', 'moon', 'Dark'],
] as const

export function ThemeChoice(): JSX.Element {
  return (
    <div class="theme-choice" role="radiogroup" aria-label="Theme">
      {CHOICES.map(([choice, icon, label]) => (
        <button
          key={choice}
          type="button"
          role="radio"
          aria-checked={preference.value === choice}
          aria-label={label}
          title={label}
          onClick={() => prefer(choice)}
        >
          <Icon name={icon} />
        </button>
      ))}
    </div>
  )
}
