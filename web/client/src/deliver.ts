/**
 * Delivers ops that other tabs left behind: a tab takes over one queue as its own, each further one needs a connection
 * of its own for as long as it takes, because a connection speaks for one client id.
 */

import type { Client, ClientOptions } from './client.js'
import type { OpQueue, QueueOwner } from './store.js'

export class Deliveries {
  #current: Client | null = null
  #stopped = false

  /** `connect` makes a client; it must not make deliveries of its own. */
  constructor(readonly connect: (options: Pick<ClientOptions, 'store'>) => Client) {}

  /** One after the other, until nothing is left. */
  async run(next: () => Promise<OpQueue | null>): Promise<void> {
    const tried = new Set<string>()
    for (let queue = await next(); queue; queue = await next()) {
      // One that could not be delivered now is left for a later visit.
      if (this.#stopped || tried.has(queue.client)) return queue.release()
      tried.add(queue.client)
      await this.#deliver(queue)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#current?.close()
  }

  #deliver(queue: OpQueue): Promise<void> {
    const client = this.connect({ store: holding(queue) })
    this.#current = client
    return new Promise((resolve) => {
      client.on('closed', () => resolve())
      client.on('idle', () => client.close())
    })
  }
}

/** A store that has exactly this queue. */
function holding(queue: OpQueue): { open(owner: QueueOwner | undefined): OpQueue; leftBehind(): Promise<null> } {
  return { open: () => queue, leftBehind: async () => null }
}
