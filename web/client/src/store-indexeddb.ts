/**
 * Unanswered ops in IndexedDB: they survive a reload, a crash and a flat battery.
 *
 * Two tabs never share a client id: a queue belongs to whoever holds the Web Lock of its name, and the browser takes the
 * lock from a tab only when the tab is gone. A tab takes over one abandoned queue, if there is one, and with it its id.
 */

import { EnfiladeError } from './errors.js'
import { newClientId } from './ids.js'
import type { OpQueue, OpStore, QueueOwner, StoredOp } from './store.js'
import type { Uuid } from './types.js'

/** A row: an op with the queue it stands in. The key is `[client, op_id]`. */
interface Row extends StoredOp {
  client: Uuid
  owner: QueueOwner
}

type Release = () => void

export interface IndexedDbOptions {
  /** The name of the database; a name for each server, where a page talks to several. */
  name?: string
  indexedDB?: IDBFactory
  locks?: Pick<LockManager, 'request'>
}

const ROWS = 'ops'

export class IndexedDbOpStore implements OpStore {
  readonly #name: string
  readonly #factory: IDBFactory | undefined
  readonly #locks: Pick<LockManager, 'request'> | undefined
  #database: Promise<IDBDatabase> | undefined

  constructor(options: IndexedDbOptions = {}) {
    this.#name = options.name ?? 'enfilade'
    this.#factory = options.indexedDB ?? globalThis.indexedDB
    this.#locks = options.locks ?? globalThis.navigator?.locks
  }

  /** Rejects with `store_failed` where there is no IndexedDB, or no Web Locks (a page over plain http). */
  async open(owner: QueueOwner | undefined): Promise<OpQueue> {
    const left = owner === undefined ? null : await this.leftBehind(owner)
    return left ?? this.#fresh()
  }

  async leftBehind(owner: QueueOwner): Promise<OpQueue | null> {
    for (const client of await this.#clients()) {
      const release = await this.#hold(client)
      if (!release) continue
      // Read under the lock: its last holder may just have emptied it.
      const rows = await this.#rows(client).catch((error: unknown) => {
        release()
        throw error
      })
      if (rows.length > 0 && rows.every((row) => row.owner === owner)) return this.#queue(client, owner, rows, release)
      release()
    }
    return null
  }

  async #fresh(): Promise<OpQueue> {
    await this.#open()
    const client = newClientId()
    const release = await this.#hold(client)
    if (!release) throw failed('a new client id is taken')
    return this.#queue(client, 'guest', [], release)
  }

  #queue(client: Uuid, owner: QueueOwner, rows: readonly Row[], release: Release): OpQueue {
    return {
      client,
      owner,
      restored: rows.map(({ client: _, owner: __, ...stored }) => stored),
      put: (stored, owner) => this.#write((rows) => rows.put({ ...stored, client, owner } satisfies Row)),
      remove: (opIds) => {
        // An op that stays behind is sent once more after a reload, and recognised.
        this.#write((rows) => opIds.forEach((opId) => rows.delete([client, opId]))).catch(() => {})
      },
      release,
    }
  }

  /** The clients that have ops here, those with the oldest first where ids tell. */
  async #clients(): Promise<Uuid[]> {
    const keys = (await this.#read((rows) => rows.getAllKeys())) as [Uuid, number][]
    return [...new Set(keys.map(([client]) => client))]
  }

  #rows(client: Uuid): Promise<Row[]> {
    const all = IDBKeyRange.bound([client, 0], [client, Number.MAX_SAFE_INTEGER])
    return this.#read((rows) => rows.getAll(all) as IDBRequest<Row[]>)
  }

  /** Takes the lock of a client id, if nobody has it. It is held until released, or until the tab is gone. */
  #hold(client: Uuid): Promise<Release | null> {
    const locks = this.#locks
    if (!locks) return Promise.reject(failed('there are no Web Locks here'))
    return new Promise((resolve, reject) => {
      const held = (lock: Lock | null): Promise<void> | void => {
        if (lock) return new Promise((release) => resolve(() => release()))
        resolve(null)
      }
      locks.request(`${this.#name}-client-${client}`, { ifAvailable: true }, held).catch(reject)
    })
  }

  async #read<T>(read: (rows: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = (await this.#open()).transaction(ROWS, 'readonly')
    return result(read(transaction.objectStore(ROWS)))
  }

  async #write(write: (rows: IDBObjectStore) => unknown): Promise<void> {
    const transaction = (await this.#open()).transaction(ROWS, 'readwrite')
    write(transaction.objectStore(ROWS))
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(failed(transaction.error?.message ?? 'a write was aborted'))
    })
  }

  #open(): Promise<IDBDatabase> {
    if (!this.#factory) return Promise.reject(failed('there is no IndexedDB here'))
    const request = (): Promise<IDBDatabase> => {
      const opening = this.#factory!.open(this.#name, 1)
      opening.onupgradeneeded = () => opening.result.createObjectStore(ROWS, { keyPath: ['client', 'op_id'] })
      return result(opening).then((database) => {
        // A later version of this page wants to upgrade: do not stand in its way.
        database.onversionchange = () => {
          database.close()
          this.#database = undefined
        }
        return database
      })
    }
    this.#database ??= request().catch((error: unknown) => {
      this.#database = undefined
      throw error
    })
    return this.#database
  }
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(failed(request.error?.message ?? 'a request failed'))
  })
}

function failed(message: string): EnfiladeError {
  return new EnfiladeError('store_failed', `unanswered ops are kept in memory only: ${message}`)
}
