/** Light or dark: what the system says, unless the person says otherwise. */

import { computed, effect, signal } from '@preact/signals'
import { PAPER, type Theme } from '../canvas/ink'
import { forget, keep, onKept, recall } from './keeping'

export type Preference = Theme | 'system'

const isTheme = (value: unknown): value is Theme => value === 'light' || value === 'dark'

const systemDark = matchMedia('(prefers-color-scheme: dark)')
const system = signal<Theme>(systemDark.matches ? 'dark' : 'light')
systemDark.addEventListener('change', () => (system.value = systemDark.matches ? 'dark' : 'light'))

export const preference = signal<Preference>(recall('theme', isTheme) ?? 'system')
onKept('theme', () => (preference.value = recall('theme', isTheme) ?? 'system'))

export const theme = computed<Theme>(() => (preference.value === 'system' ? system.value : preference.value))

export function prefer(choice: Preference): void {
  preference.value = choice
  if (choice === 'system') forget('theme')
  else keep('theme', choice)
}

/** Keeps the document in the theme for as long as the page lives. */
export function followTheme(): void {
  effect(() => {
    document.documentElement.dataset['theme'] = theme.value
    document.querySelector('meta[name="theme-color"]')?.setAttribute('content', PAPER[theme.value])
  })
}
