/** A short word at the edge of the screen: something happened, or did not. The last one wins. */

import { signal } from '@preact/signals'

export interface Toast {
  readonly text: string
  readonly tone: 'good' | 'bad'
}

const SHOWN_MS = 4_000

export const toast = signal<Toast | undefined>(undefined)
let fading: ReturnType<typeof setTimeout> | undefined

export function say(text: string, tone: Toast['tone'] = 'good'): void {
  clearTimeout(fading)
  toast.value = { text, tone }
  fading = setTimeout(() => (toast.value = undefined), SHOWN_MS)
}
