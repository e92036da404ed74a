/** The client against the real server. `ENFILADE_BIN` names the program; without it, the debug build is used. */

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'

import { Api, type RoomInfo } from '../src/api.js'
import { Board } from '../src/board.js'
import { BoardState } from '../src/board-state.js'
import { Client, type ClientOptions } from '../src/client.js'
import type { CodecName } from '../src/codec.js'
import type { SocketConstructor } from '../src/connection.js'
import { newClientId } from '../src/ids.js'
import { toPairs, toPoints } from '../src/points.js'
import type { BoardOp, Element } from '../src/types.js'
import { boardOp } from './support/arbitrary.js'
import { rectangle, stroke } from './support/arrange.js'
import { BINARY, BINARY_IS_THERE, fetchWithCookies, RealServer } from './support/real-server.js'

if (!BINARY_IS_THERE) console.warn(`skipped: there is no server at ${BINARY}; build it, or set ENFILADE_BIN`)

const SOON = { timeout: 10_000, interval: 20 }

/** Sockets that can be torn. */
class Sockets {
  readonly open = new Set<WebSocket>()
  readonly WebSocket: SocketConstructor

  constructor() {
    const open = this.open
    this.WebSocket = class extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols)
        open.add(this)
        this.on('close', () => open.delete(this))
      }
    } as unknown as SocketConstructor
  }

  tear(): void {
    for (const socket of this.open) socket.terminate()
  }
}

/** Somebody at a board. */
interface Person {
  client: Client
  board: Board
  sockets: Sockets
}

const present = (elements: Iterable<Element>): Element[] =>
  [...elements].filter(({ deleted_by }) => deleted_by === undefined).sort((a, b) => (a.element < b.element ? -1 : 1))
const seen = ({ board }: Person): Element[] => present(board.elements())

describe.skipIf(!BINARY_IS_THERE)('against the real server', () => {
  let server: RealServer
  let api: Api

  beforeAll(async () => {
    server = await RealServer.start()
    api = new Api({ origin: server.origin, fetch: fetchWithCookies() })
  }, 60_000)
  afterAll(async () => server?.stop(), 30_000)

  const newBoard = (): Promise<RoomInfo> => api.createRoom({ kind: 'board', title: 'Sketches' })

  function person(name: string, options: Partial<ClientOptions> = {}): { client: Client; sockets: Sockets } {
    const sockets = new Sockets()
    const credentials = (): { guest: { name: string } } => ({ guest: { name } })
    const client = new Client({ url: server.url, credentials, WebSocket: sockets.WebSocket, ...options })
    onTestFinished(() => client.close())
    return { client, sockets }
  }

  function at(room: RoomInfo, name: string, options: Partial<ClientOptions> & { link?: string } = {}): Person {
    const { client, sockets } = person(name, options)
    return { client, sockets, board: new Board(client.join(room.id, { link: options.link ?? room.link! })) }
  }

  async function joined(person: Person): Promise<Person> {
    await expect.poll(() => person.board.room.state, SOON).toBe('joined')
    return person
  }

  /** The board by plain replay of the history, which every other view of it must equal. */
  async function replay(room: RoomInfo): Promise<Element[]> {
    const state = new BoardState()
    for (let after: number | undefined = 0; after !== undefined; ) {
      const page: Awaited<ReturnType<Api['ops']>> = await api.ops(room.id, { after }, room.link)
      page.ops.forEach(({ op, author }, i) => state.apply(op, { seq: page.firstSeq + i, author }))
      after = page.next
    }
    return present(state.elements.values())
  }

  /** Everybody, a newcomer, a snapshot and the history agree. */
  async function expectAgreement(room: RoomInfo, people: Person[]): Promise<Element[]> {
    for (const { client } of people) await expect.poll(() => client.unanswered, SOON).toBe(0)
    const expected = await replay(room)
    for (const person of [...people, await joined(at(room, 'Newcomer'))]) {
      await expect.poll(() => seen(person), SOON).toEqual(expected)
    }
    const { snapshot } = await api.snapshot(room.id, room.link)
    const state = new BoardState()
    state.load(snapshot)
    expect(present(state.elements.values())).toEqual(expected)
    return expected
  }

  describe.each<CodecName>(['msgpack', 'json'])('in %s', (codec) => {
    test('two guests draw on one board, and see each other', async () => {
      const room = await newBoard()
      const [ada, bob] = [at(room, 'Ada', { codec }), at(room, 'Bob', { codec })]
      await Promise.all([joined(ada), joined(bob)])
      expect(ada.client.user).toMatchObject({ name: 'Ada', guest: true })
      expect(ada.board.room).toMatchObject({ kind: 'board', title: 'Sketches', role: 'owner' })
      await expect.poll(() => [...ada.board.room.presence.members.values()].map(({ name }) => name).sort(), SOON).toEqual(['Ada', 'Bob'])
      const points: [number, number][] = Array.from({ length: 200 }, (_, i) => [i, 10 * Math.sin(i / 9)])
      const pressed = { ...stroke('a', points).data, pressure: Uint8Array.from(points, (_, i) => 100 + (i % 50)) }
      expect(await ada.board.submit({ type: 'add_stroke', data: pressed } as BoardOp)).toBe(1)
      await bob.board.submit(
        { type: 'add_line', data: { element: 'line', color: '#1a1a1a', width: 1.5, from: [0, 0.25], to: [9.5, 9] } },
        { type: 'add_text', data: { element: 'text', color: '#1a1a1a', size: 16, from: [0, 0], text: 'héllo 👩‍🎨\n' } },
        { type: 'add_note', data: { element: 'note', color: '#ffcc00', bounds: [1, 2, 3, 4], text: '' } },
        { type: 'add_ellipse', data: { element: 'ellipse', color: '#11223344', width: 2, bounds: [0, 0, 5, 5], fill: '#FFcc00' } },
      )
      await ada.board.submit(
        { type: 'move', data: { elements: ['line', 'nobody'], offsets: [[5, -5.5], [0, 0]] } },
        { type: 'restyle', data: { elements: ['text', 'ellipse'], color: '#ff0000', size: 20, fill: '#00000000' } },
        { type: 'reorder', data: { elements: ['text'], z: [0.5] } },
        { type: 'change', data: { element: 'note', text: 'new' } },
      )
      const elements = await expectAgreement(room, [ada, bob])
      expect(elements).toHaveLength(5)
      const drawn = elements[0] as { points: Float32Array; pressure: Uint8Array }
      // The server keeps fewer points than were drawn.
      expect(drawn.points.length / 2).toBeLessThan(100)
      expect(drawn.pressure).toHaveLength(drawn.points.length / 2)
      expect(bob.board.elements()[0]).toMatchObject({ type: 'text', z: 0.5, size: 20, color: '#ff0000', text: 'héllo 👩‍🎨\n' })
    })

    test('a stroke is seen while it grows, and a cursor while it moves', async () => {
      const room = await newBoard()
      const [ada, bob] = [await joined(at(room, 'Ada', { codec })), await joined(at(room, 'Bob', { codec }))]
      const pen = ada.board.pen({ color: '#3366cc', width: 3 })
      for (let x = 0; x < 5; x++) pen.add(x, x, 128 + x)
      ada.board.cursor({ x: 7, y: 8.1 })
      await expect.poll(() => bob.board.live.get(pen.element)?.points, SOON).toEqual(pen.points)
      expect(bob.board.live.get(pen.element)).toMatchObject({ author: ada.client.user!.id, color: '#3366cc', pressure: pen.pressure })
      await expect.poll(() => [...bob.board.cursors.values()], SOON).toEqual([{ author: ada.client.user!.id, client: ada.client.id, x: 7, y: 8 }])
      expect([ada.board.live.size, ada.board.cursors.size]).toEqual([0, 0])
      await pen.finish()
      await expect.poll(() => bob.board.view(pen.element), SOON).toBeDefined()
      expect(bob.board.live.size).toBe(0)
    })
  })

  test('whoever vanishes in the middle of a stroke leaves what arrived of it', async () => {
    const room = await newBoard()
    const [ada, bob] = [await joined(at(room, 'Ada')), await joined(at(room, 'Bob'))]
    const pen = ada.board.pen({ color: '#3366cc', width: 3 })
    pen.add(0, 0)
    pen.add(50, 0)
    await expect.poll(() => bob.board.live.size, SOON).toBe(1)
    ada.sockets.tear()
    ada.client.close()
    await expect.poll(() => bob.board.view(pen.element), SOON).toMatchObject({ author: ada.client.user!.id })
    expect(toPairs((bob.board.view(pen.element) as { points: Float32Array }).points)).toEqual([[0, 0], [50, 0]])
    expect(bob.board.live.size).toBe(0)
  })

  test('a torn connection is made again for the same person, and nothing is lost or doubled', async () => {
    const room = await newBoard()
    const [ada, bob] = [await joined(at(room, 'Ada')), await joined(at(room, 'Bob'))]
    const { user, id } = ada.client
    const results: Promise<number>[] = []
    for (let i = 0; i < 30; i++) {
      results.push(ada.board.submit(rectangle(`e${i}`)))
      if (i % 10 === 5) ada.sockets.tear()
      if (i % 10 === 7) await results.at(-1)
    }
    const seqs = await Promise.all(results)
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
    expect(new Set(seqs).size).toBe(30)
    expect([ada.client.user, ada.client.id]).toEqual([user, id])
    expect(await expectAgreement(room, [ada, bob])).toHaveLength(30)
    expect(bob.board.room.position!.seq).toBe(30)
  })

  test('a guest comes back under the same id with the resume token', async () => {
    const first = person('Ada').client
    await expect.poll(() => first.status, SOON).toBe('online')
    const resume = first.resume!
    first.close()
    const again = person('Ada', { credentials: () => ({ resume, guest: { name: 'Ada' } }) }).client
    await expect.poll(() => again.user, SOON).toEqual(first.user)
  })

  test('undo and redo agree with the server', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    const pictures: Element[][] = []
    const steps: BoardOp[][] = [
      [rectangle('a'), rectangle('b')],
      [{ type: 'restyle', data: { elements: ['a', 'b'], color: '#ff0000' } }],
      [{ type: 'delete', data: { elements: ['a'] } }],
      [stroke('c', [[0, 0], [5, 9], [10, 0]])],
      [{ type: 'change', data: { element: 'c', points: toPoints([[1, 1], [2, 9]]) } }],
      [{ type: 'move', data: { elements: ['b', 'c'], offsets: [[1, 1], [2, 2]] } }],
      [{ type: 'clear', data: {} }],
    ]
    for (const ops of steps) {
      pictures.push(structuredClone(seen(ada)))
      await ada.board.submit(...ops)
    }
    pictures.push([])
    // Pressed as fast as one likes: each waits for what it needs.
    for (let i = steps.length - 1; i >= 0; i--) {
      ada.board.undo()
      if (i % 2) await expect.poll(() => ada.client.unanswered, SOON).toBe(0)
      expect(seen(ada)).toEqual(pictures[i])
    }
    expect(await expectAgreement(room, [ada])).toEqual([])
    for (let i = 1; i <= steps.length; i++) {
      ada.board.redo()
      expect(seen(ada)).toEqual(pictures[i])
    }
    await expectAgreement(room, [ada])
  })

  test('a deletion is undone at once, whether it was answered or not', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    await ada.board.submit(rectangle('a'))
    for (let i = 0; i < 10; i++) {
      void ada.board.submit({ type: 'delete', data: { elements: ['a'] } })
      if (i % 2) await Promise.resolve()
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
      ada.board.undo()
      expect(ada.board.view('a')).toBeDefined()
    }
    expect(await expectAgreement(room, [ada])).toHaveLength(1)
  })

  test('a burst is paced, not refused', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    const errors: string[] = []
    ada.client.on('error', ({ code }) => errors.push(code))
    const results = Array.from({ length: 400 }, (_, i) => ada.board.submit(rectangle(`e${i}`)))
    for (let i = 0; i < 300; i++) ada.board.room.signal(`stroke.${i}`, { element: 'x', cancel: true })
    expect(await Promise.all(results)).toEqual(Array.from({ length: 400 }, (_, i) => i + 1))
    expect(errors).toEqual([])
  }, 30_000)

  test('the longest stroke fits, a longer one is refused here or there, and the connection lives', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    const zigzag = (length: number): BoardOp => stroke(`s${length}`, Array.from({ length }, (_, i) => [i / 4, i % 2 ? 9 : 0]))
    await expect(ada.board.submit(zigzag(20_000))).resolves.toBe(1)
    await expect(ada.board.submit(zigzag(20_001))).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(ada.board.submit(zigzag(60_000))).rejects.toMatchObject({ code: 'payload_too_large' })
    expect(seen(ada).map(({ element }) => element)).toEqual(['s20000'])
    expect(ada.client.status).toBe('online')
  })

  test('ops that make no sense are refused with a code, and seen no more', async () => {
    const room = await newBoard()
    const [ada, bob] = [await joined(at(room, 'Ada')), await joined(at(room, 'Bob'))]
    await bob.board.submit(rectangle('bobs'))
    await expect.poll(() => ada.board.view('bobs'), SOON).toBeDefined()
    const refusals: [BoardOp, string][] = [
      [{ type: 'delete', data: { elements: ['nobody'] } }, 'unknown_element'],
      [{ type: 'restore', data: { deleted_by: 1 } }, 'invalid_op'],
      [rectangle('bobs'), 'element_exists'],
      [rectangle('no spaces allowed'), 'invalid_request'],
      [{ type: 'forget', data: { elements: ['bobs'] } }, 'forbidden'],
      [{ type: 'change', data: { element: 'bobs', text: 'x' } }, 'invalid_op'],
    ]
    for (const [op, code] of refusals) {
      await expect(ada.board.submit(op), JSON.stringify(op)).rejects.toMatchObject({ code })
    }
    expect(await expectAgreement(room, [ada, bob])).toHaveLength(1)
  })

  test('a viewer sees and does not touch, and a revoked link closes the door', async () => {
    const room = await newBoard()
    const link = await api.createLink(room.id, 'viewer', room.link)
    const [ada, eve] = [await joined(at(room, 'Ada')), await joined(at(room, 'Eve', { link: link.link }))]
    expect(eve.board.room.role).toBe('viewer')
    await ada.board.submit(rectangle('a'))
    await expect.poll(() => eve.board.view('a'), SOON).toBeDefined()
    await expect(eve.board.submit(rectangle('b'))).rejects.toMatchObject({ code: 'forbidden' })
    expect((await api.links(room.id, room.link)).map(({ id }) => id)).toContain(link.id)
    await api.revokeLink(room.id, link.id, room.link)
    await expect.poll(() => eve.client.closeReason, SOON).toEqual({ code: 4502, reason: 'access_revoked' })
    expect(ada.client.status).toBe('online')
    const late = at(room, 'Late', { link: link.link })
    await expect.poll(() => late.board.room.state, SOON).toBe('refused')
    expect(late.board.room.refusal?.code).toBe('link_invalid')
  })

  test('a room that does not exist, or is not for one, is refused', async () => {
    const nowhere = at({ id: newClientId(), link: 'x' } as RoomInfo, 'Ada')
    await expect.poll(() => nowhere.board.room.refusal?.code, SOON).toBeDefined()
    await expect(nowhere.board.submit(rectangle('a'))).rejects.toMatchObject({ code: nowhere.board.room.refusal!.code })
  })

  test('presence tells who comes', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    await expect.poll(() => ada.board.room.presence.count, SOON).toBe(1)
    const bob = await joined(at(room, 'Bob'))
    await expect.poll(() => ada.board.room.presence.members.get(bob.client.user!.id), SOON).toMatchObject({ name: 'Bob', role: 'owner' })
    expect(ada.board.room.presence.count).toBe(2)
  })

  test('people sign up, in and out, and their tokens are refreshed on the living connection', async () => {
    const own = new Api({ origin: server.origin, fetch: fetchWithCookies() })
    const username = `ada-${newClientId().slice(0, 8)}`
    const password = 'correct horse battery staple'
    await own.signUp({ username, password, name: 'Ada L' })
    await expect(own.signUp({ username, password })).rejects.toMatchObject({ code: 'username_taken' })
    await own.signOut()
    await expect(own.signIn({ username, password: 'wrong' })).rejects.toMatchObject({ code: 'invalid_credentials' })
    const { user } = await own.signIn({ username, password })
    const room = await own.createRoom({ kind: 'board', title: 'Mine' })
    expect(room.link).toBeUndefined()
    const { client } = person('unused', { credentials: async () => ({ token: (await own.token())! }) })
    const errors: string[] = []
    client.on('error', ({ code }) => errors.push(code))
    const board = new Board(client.join(room.id))
    await expect.poll(() => board.room.state, SOON).toBe('joined')
    expect(client.user).toEqual(user)
    await board.submit(rectangle('a'))
    const before = own.session!.token
    const after = await own.refresh()
    expect(after!.token).not.toBe(before)
    expect((await own.rooms()).rooms.map(({ id }) => id)).toContain(room.id)
    expect((await own.renameRoom(room.id, 'Ours')).title).toBe('Ours')
    await expect.poll(() => board.room.title, SOON).toBe('Ours')
    expect((await own.members(room.id)).members).toEqual([{ id: user.id, name: 'Ada L', role: 'owner' }])

    const bob = new Api({ origin: server.origin, fetch: fetchWithCookies() })
    await bob.signUp({ username: `bob-${newClientId().slice(0, 8)}`, password })
    const { link } = await own.createLink(room.id, 'editor')
    await expect(bob.room(room.id)).rejects.toMatchObject({ code: 'room_not_found' })
    expect(await bob.becomeMember(room.id, link)).toMatchObject({ title: 'Ours', role: 'editor' })
    await bob.leaveRoom(room.id)

    await own.signOut({ everywhere: true })
    await expect.poll(() => client.closeReason, SOON).toEqual({ code: 4501, reason: 'signed_out' })
    expect(await own.refresh()).toBeNull()
    expect(errors).toEqual([])
  }, 30_000)

  test('a token that is about to run out is replaced without a new connection', async () => {
    const own = new Api({ origin: server.origin, fetch: fetchWithCookies() })
    await own.signUp({ username: `cy-${newClientId().slice(0, 8)}`, password: 'correct horse battery staple' })
    // By a clock that runs ahead, the token has only seconds left.
    const ahead = 9 * 60_000 + 57_000
    const clock = {
      now: () => Date.now() + ahead,
      setTimeout: (fn: () => void, ms: number) => setTimeout(fn, ms),
      clearTimeout: (handle: unknown) => clearTimeout(handle as never),
    }
    let asked = 0
    const credentials = async (): Promise<{ token: string }> => {
      asked++
      return { token: asked === 1 ? own.session!.token : (await own.refresh())!.token }
    }
    const { client, sockets } = person('unused', { credentials, clock })
    const errors: string[] = []
    client.on('error', ({ code }) => errors.push(code))
    await expect.poll(() => asked, SOON).toBeGreaterThan(1)
    await expect.poll(() => client.status, SOON).toBe('online')
    expect(sockets.open.size).toBe(1)
    expect(errors).toEqual([])
  })

  test('the same op over HTTP again has the same seq', async () => {
    const room = await newBoard()
    const op = { client: newClientId(), opId: 7, op: rectangle('a') }
    expect(await api.submit(room.id, op, room.link)).toEqual({ seq: 1 })
    expect(await api.submit(room.id, op, room.link)).toEqual({ seq: 1 })
    expect(await replay(room)).toHaveLength(1)
  })

  test('a board from a cache gets only what is new', async () => {
    const room = await newBoard()
    const ada = await joined(at(room, 'Ada'))
    await ada.board.submit(rectangle('a'), rectangle('b'))
    await expect.poll(() => ada.board.room.position?.seq, SOON).toBe(2)
    const cached = ada.board.cache()!
    await ada.board.submit(rectangle('c'))
    const { client } = person('Bob')
    const board = new Board(client.join(room.id, { link: room.link!, cached }))
    expect(board.elements()).toHaveLength(2)
    const firsts: number[] = []
    let resets = 0
    board.room.on('ops', ({ firstSeq }) => firsts.push(firstSeq))
    board.room.on('reset', () => resets++)
    await expect.poll(() => board.elements().length, SOON).toBe(3)
    expect([firsts, resets]).toEqual([[3], 0])
  })

  test('three people at random agree in the end', async () => {
    const room = await newBoard()
    const people = await Promise.all(['Ada', 'Bob', 'Cy'].map((name) => joined(at(room, name))))
    const ops = fc.sample(boardOp, { numRuns: 240, seed: 42 })
    for (const [i, op] of ops.entries()) {
      const someone = people[(i * 7) % 3]!
      someone.board.submit(op).catch(() => {})
      if (i % 5 === 0) someone.board.undo()
      if (i % 11 === 0) someone.board.redo()
      if (i % 40 === 39) someone.sockets.tear()
      if (i % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await expectAgreement(room, people)
    for (const { board } of people) void board.submit(rectangle(board.room.host.id!))
    expect((await expectAgreement(room, people)).length).toBeGreaterThanOrEqual(3)
  }, 60_000)

  test('a server that is killed and comes back has all that it accepted, once', async () => {
    const room = await newBoard()
    const [ada, bob] = [await joined(at(room, 'Ada')), await joined(at(room, 'Bob'))]
    const results: Promise<number>[] = []
    for (let i = 0; i < 60; i++) {
      results.push((i % 2 ? ada : bob).board.submit(rectangle(`e${i}`)))
      if (i === 30) await Promise.race(results.slice(20))
    }
    await server.kill()
    await expect.poll(() => ada.client.status, SOON).toBe('offline')
    results.push(ada.board.submit(rectangle('offline')))
    expect(ada.board.view('offline')).toBeDefined()
    await server.run()
    const seqs = await Promise.all(results)
    expect(new Set(seqs).size).toBe(61)
    expect(await expectAgreement(room, [ada, bob])).toHaveLength(61)
    expect(bob.board.room.position!.seq).toBe(61)
  }, 60_000)
})
