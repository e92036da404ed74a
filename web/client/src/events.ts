/** Typed events: `on` returns the way to stop listening. */

export type Unsubscribe = () => void

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>()

  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): Unsubscribe {
    let listeners = this.#listeners.get(name)
    if (!listeners) this.#listeners.set(name, (listeners = new Set()))
    // A wrapper of its own, so that the same function may listen twice and each be removed by itself.
    const entry = (event: Events[Name]): void => listener(event)
    listeners.add(entry)
    return () => void listeners.delete(entry)
  }

  /** A listener that throws hurts neither the others nor the connection: its error surfaces as an uncaught one. */
  protected emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as ((event: Events[Name]) => void)[]) {
      try {
        listener(event)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
