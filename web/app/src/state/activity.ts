/** Whether somebody is at this page: it is in sight, and was touched not long ago. */

import { signal } from '@preact/signals'

/** Without a touch for so long, nobody is. */
export const IDLE_MS = 5 * 60_000
/** A pen that moves says so many times a second; once in a while is enough. */
const NOTICE_MS = 10_000

export const atPage = signal(true)

const TOUCHES = ['pointerdown', 'pointermove', 'keydown', 'wheel'] as const

/** Watches until it is told to stop. */
export function watchActivity(): () => void {
  let idle: ReturnType<typeof setTimeout> | undefined
  let noticedAt = -Infinity
  const look = (): void => {
    clearTimeout(idle)
    noticedAt = Date.now()
    atPage.value = document.visibilityState === 'visible'
    if (atPage.value) idle = setTimeout(() => (atPage.value = false), IDLE_MS)
  }
  const touched = (): void => {
    if (!atPage.value || Date.now() - noticedAt >= NOTICE_MS) look()
  }
  document.addEventListener('visibilitychange', look)
  for (const touch of TOUCHES) addEventListener(touch, touched, { passive: true })
  look()
  return () => {
    clearTimeout(idle)
    document.removeEventListener('visibilitychange', look)
    for (const touch of TOUCHES) removeEventListener(touch, touched)
  }
}
