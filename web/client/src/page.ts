/** What a browser knows about the network and the page: moments at which waiting makes no sense. */

import type { Unsubscribe } from './events.js'

interface Target {
  addEventListener(name: string, listener: () => void): void
  removeEventListener(name: string, listener: () => void): void
}

/** Calls back when the network is back, or changed, or the page is looked at again. Does nothing outside of a browser. */
export function onAwake(awake: () => void): Unsubscribe {
  const page = globalThis as { document?: Target & { visibilityState?: string } } & Partial<Target>
  const looked = (): void => {
    if (page.document?.visibilityState === 'visible') awake()
  }
  page.addEventListener?.('online', awake)
  page.document?.addEventListener('visibilitychange', looked)
  return () => {
    page.removeEventListener?.('online', awake)
    page.document?.removeEventListener('visibilitychange', looked)
  }
}
