/**
 * Whether the server has been out of reach for longer than a connection takes to be made again: a short loss is no
 * reason to worry anybody. A device that says it has no network is believed at once.
 */

import { type ReadonlySignal, signal } from '@preact/signals'

/** Longer than other nodes of a cluster need to take over from one that died. */
const SHORT_MS = 5_000

export class Absence {
  readonly #long = signal(false)
  #online = true
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    addEventListener('offline', this.#networkLost)
  }

  get long(): ReadonlySignal<boolean> {
    return this.#long
  }

  /** The connection was made or lost. */
  note(online: boolean): void {
    if (online === this.#online) return
    this.#online = online
    clearTimeout(this.#timer)
    this.#long.value = !online && !navigator.onLine
    if (!online) this.#timer = setTimeout(() => (this.#long.value = true), SHORT_MS)
  }

  stop(): void {
    clearTimeout(this.#timer)
    removeEventListener('offline', this.#networkLost)
  }

  readonly #networkLost = (): void => {
    if (!this.#online) this.#long.value = true
  }
}
