/** Which dialog is open: one at most. */

import { signal } from '@preact/signals'

export type DialogName = 'share' | 'sign-in' | 'sign-up' | 'name' | 'help' | 'devices'

export const dialog = signal<DialogName | undefined>(undefined)

export const closeDialog = (): void => {
  dialog.value = undefined
}
