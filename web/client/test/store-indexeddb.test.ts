import { IDBFactory } from 'fake-indexeddb'
import 'fake-indexeddb/auto'
import { describe, expect, test } from 'vitest'

import { Board } from '../src/board.js'
import type { StoredOp } from '../src/store.js'
import { IndexedDbOpStore } from '../src/store-indexeddb.js'
import { ROOM, rectangle, scene, stroke } from './support/arrange.js'
import { settled } from './support/fake-clock.js'
import { fakeToken, SOMEBODY } from './support/fake-server.js'

/** The locks of a browser: over all tabs, taken from a tab when it is gone. */
class Locks {
  readonly #held = new Set<string>()

  tab(): { locks: Pick<LockManager, 'request'>; crash: () => void } {
    const mine = new Set<string>()
    const request = async (name: string, ...rest: unknown[]): Promise<unknown> => {
      const [options, run] = rest as [LockOptions, (lock: Lock | null) => unknown]
      expect(options).toEqual({ ifAvailable: true })
      if (this.#held.has(name)) return run(null)
      this.#held.add(name)
      mine.add(name)
      try {
        return await run({ name, mode: 'exclusive' })
      } finally {
        this.#held.delete(name)
      }
    }
    return {
      locks: { request: request as LockManager['request'] },
      crash: () => mine.forEach((name) => this.#held.delete(name)),
    }
  }
}

interface Tab {
  store: IndexedDbOpStore
  crash: () => void
}

function browser(): { tab(): Tab } {
  const indexedDB = new IDBFactory()
  const locks = new Locks()
  return {
    tab() {
      const tab = locks.tab()
      return { store: new IndexedDbOpStore({ indexedDB, locks: tab.locks }), crash: tab.crash }
    },
  }
}

const op = (op_id: number): StoredOp => ({ room: ROOM, link: 'secret', op_id, op: stroke(`e${op_id}`) })

describe('unanswered ops in IndexedDB', () => {
  test('survive the tab, and are taken over with their client id', async () => {
    const { tab } = browser()
    const first = tab()
    const queue = await first.store.open('guest')
    expect(queue.restored).toEqual([])
    for (const id of [10, 2, 1]) await queue.put(op(id), 'guest')
    queue.remove([2])
    first.crash()
    const second = await tab().store.open('guest')
    expect(second.client).toBe(queue.client)
    expect(second.restored).toEqual([op(1), op(10)])
    second.remove([1, 10])
    second.release()
    const third = await tab().store.open('guest')
    expect(third.client).not.toBe(queue.client)
  })

  test('of a living tab are its own', async () => {
    const { tab } = browser()
    const first = await tab().store.open('guest')
    await first.put(op(1), 'guest')
    const second = await tab().store.open('guest')
    expect(second.client).not.toBe(first.client)
    expect(second.restored).toEqual([])
  })

  test('are taken over by one tab only', async () => {
    const { tab } = browser()
    const crashed = tab()
    await (await crashed.store.open('guest')).put(op(1), 'guest')
    crashed.crash()
    const queues = await Promise.all([1, 2, 3, 4].map(() => tab().store.open('guest')))
    expect(new Set(queues.map(({ client }) => client)).size).toBe(4)
    expect(queues.filter(({ restored }) => restored.length > 0)).toHaveLength(1)
  })

  test('of somebody else are left alone', async () => {
    const { tab } = browser()
    const first = tab()
    const queue = await first.store.open(SOMEBODY)
    await queue.put(op(1), SOMEBODY)
    queue.release()
    expect((await tab().store.open('guest')).restored).toEqual([])
    expect((await tab().store.open(undefined)).restored).toEqual([])
    expect((await tab().store.open(SOMEBODY)).restored).toEqual([op(1)])
  })

  test('need locks and a database', async () => {
    const { locks } = new Locks().tab()
    const without = new IndexedDbOpStore({ indexedDB: new IDBFactory(), locks: undefined as never })
    // In Node there is neither a `navigator.locks` nor, but for the tests, a database.
    await expect(without.open('guest')).rejects.toMatchObject({ code: 'store_failed' })
    const broken = { open: () => { throw new Error('denied') } } as unknown as IDBFactory
    await expect(new IndexedDbOpStore({ indexedDB: broken, locks }).open('guest')).rejects.toThrow('denied')
  })
})

describe('a client with a store', () => {
  test('delivers after a reload what it could not deliver before, once', async () => {
    const { server, connect } = scene()
    const { tab } = browser()
    const before = tab()
    const client = connect({ store: before.store })
    const board = new Board(client.join(ROOM, { link: 'secret' }))
    await expect.poll(() => client.status).toBe('online')
    await settled()
    // One arrives but is not answered, the other does not arrive.
    server.last.mute = true
    void board.submit(stroke('a')).catch(() => {})
    await expect.poll(() => server.last.ofType('submit').length).toBe(1)
    server.last.deaf = true
    void board.submit(stroke('b')).catch(() => {})
    await expect.poll(() => server.last.ofType('submit').length).toBe(1)
    await settled()
    server.last.gone()
    before.crash()

    const again = connect({ store: tab().store })
    const seen = new Board(again.join(ROOM, { link: 'secret' }))
    await expect.poll(() => server.room(ROOM).log.length).toBe(2)
    await expect.poll(() => again.unanswered).toBe(0)
    expect(again.id).toBe(client.id)
    expect(seen.elements().map(({ element }) => element)).toEqual(['a', 'b'])
    await seen.submit(stroke('c'))
    expect(server.room(ROOM).log.map(({ op_id }) => op_id)).toEqual([1, 2, 3])
  })

  test('sends what was left behind before what is new, however early that comes', async () => {
    const { server, connect } = scene()
    const { tab } = browser()
    const queue = await tab().store.open('guest')
    for (const id of [4, 5]) await queue.put(op(id), 'guest')
    queue.release()
    const room = connect({ store: tab().store }).join(ROOM)
    await expect(room.submit(rectangle('early'))).resolves.toBe(3)
    expect(server.room(ROOM).log.map(({ op_id }) => op_id)).toEqual([4, 5, 6])
  })

  test('joins a room that the application does not ask for, for as long as it takes', async () => {
    const { server, connect } = scene()
    const { tab } = browser()
    const queue = await tab().store.open('guest')
    await queue.put(op(7), 'guest')
    queue.release()
    const client = connect({ store: tab().store })
    await expect.poll(() => server.room(ROOM).log.length).toBe(1)
    await expect.poll(() => server.last.ofType('leave').length).toBe(1)
    expect(server.last.ofType('join')).toEqual([{ room: ROOM, link: 'secret' }])
    expect(server.room(ROOM).log[0]).toMatchObject({ client: queue.client, op_id: 7 })
    expect([client.unanswered, server.last.joined.size]).toEqual([0, 0])
  })

  test('delivers the ops of every tab that is gone, each under its own id', async () => {
    const { server, clock, connect } = scene()
    const { tab } = browser()
    const clients = new Set<string>()
    const left = await Promise.all([1, 2, 3].map(() => tab().store.open('guest')))
    for (const queue of left) {
      await queue.put(op(1), 'guest')
      clients.add(queue.client)
    }
    for (const queue of left) queue.release()
    const client = connect({ store: tab().store })
    await expect.poll(() => server.room(ROOM).log.length).toBe(3)
    expect(new Set(server.room(ROOM).log.map((logged) => logged.client))).toEqual(clients)
    await expect.poll(() => server.open.length).toBe(1)
    // All of one person.
    expect(new Set(server.room(ROOM).log.map(({ author }) => author))).toEqual(new Set([client.user!.id]))
    await clock.advance(0)
    expect((await tab().store.open('guest')).restored).toEqual([])
  })

  test('leaves for later what cannot be delivered now', async () => {
    const { server, clock, connect } = scene()
    const { tab } = browser()
    const left = await Promise.all([1, 2].map(() => tab().store.open('guest')))
    for (const queue of left) await queue.put(op(1), 'guest')
    for (const queue of left) queue.release()
    const client = connect({ store: tab().store })
    server.intercept = (connection, message) => {
      if (message.type !== 'hello' || message.data.client === client.id) return false
      connection.refuse(message.id, 'unauthenticated')
      connection.close(4500, 'unauthenticated')
      return true
    }
    await expect.poll(() => server.connections.length).toBe(2)
    await expect.poll(() => server.open.length).toBe(1)
    await clock.advance(60_000)
    expect(server.connections.length).toBeLessThan(4)
    expect((await tab().store.open('guest')).restored).toEqual([op(1)])
  })

  test('puts back what turns out to be somebody else\'s, and takes another id', async () => {
    const { server, connect } = scene()
    const { tab } = browser()
    const queue = await tab().store.open('guest')
    await queue.put(op(1), 'guest')
    queue.release()
    const client = connect({ store: tab().store, credentials: () => ({ guest: { name: 'Ada' } }) })
    const room = client.join(ROOM)
    const result = room.submit(rectangle('mine'))
    // The server says that this is a signed-in person.
    server.intercept = (connection, message) => {
      if (message.type !== 'hello') return false
      connection.user = { id: SOMEBODY, name: 'Bob', guest: false }
      connection.client = message.data.client
      const data = { user: connection.user, node: 'n', ping_ms: 25_000, resume: `resume-${SOMEBODY}`, limits: server.limits }
      connection.reply(message.id, { type: 'welcome', data })
      return true
    }
    await expect.poll(() => client.status).toBe('online')
    await expect(result).resolves.toBe(1)
    expect(client.id).not.toBe(queue.client)
    expect(server.room(ROOM).log.map(({ op }) => (op.data as { element: string }).element)).toEqual(['mine'])
    expect((await tab().store.open('guest')).restored).toEqual([op(1)])
  })

  test('adopts what the same person has left', async () => {
    const { server, clock, connect } = scene()
    const { tab } = browser()
    const queue = await tab().store.open(SOMEBODY)
    await queue.put(op(1), SOMEBODY)
    queue.release()
    const credentials = (): { token: string } => ({ token: fakeToken(SOMEBODY, clock.now() + 600_000) })
    const client = connect({ store: tab().store, credentials })
    await expect.poll(() => server.room(ROOM).log.length).toBe(1)
    expect(client.id).toBe(queue.client)
    expect(server.room(ROOM).log[0]!.author).toBe(SOMEBODY)
  })

  test('works without its store when that fails or hangs', async () => {
    const { server, clock, connect, errors } = scene()
    const failing = { open: () => Promise.reject(new Error('denied')), leftBehind: async () => null }
    const hanging = { open: () => new Promise<never>(() => {}), leftBehind: async () => null }
    for (const store of [failing, hanging]) {
      const room = connect({ store }).join(ROOM)
      const result = room.submit(rectangle(`e${errors.length}`))
      await clock.advance(3_000)
      await expect(result).resolves.toBeGreaterThan(0)
    }
    expect(errors.map(({ code }) => code)).toEqual(['store_failed', 'store_failed'])
    expect(server.room(ROOM).log).toHaveLength(2)
  })
})
