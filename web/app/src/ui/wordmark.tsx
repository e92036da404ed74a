/** The mark: doorways, each opening into the next, with light in the last. */

import type { JSX } from 'preact'

export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" class="mark-wall" />
      <path d="M6 28V15a10 10 0 0 1 20 0v13z" class="mark-first" />
      <path d="M10 25v-9.5a6 6 0 0 1 12 0V25z" class="mark-second" />
      <path d="M13.2 22v-6a2.8 2.8 0 0 1 5.6 0v6z" class="mark-last" />
    </svg>
  )
}

export function Wordmark(): JSX.Element {
  return (
    <span class="wordmark">
      <Mark />
      <span>Enfilade</span>
    </span>
  )
}
