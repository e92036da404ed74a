/** The client against several real nodes, of which one is drained and one is killed while people draw. */

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { Api, type RoomInfo } from '../src/api.js'
import type { Pen } from '../src/pen.js'
import type { LoggedOp } from '../src/types.js'
import { Artist, type SocketLife } from './support/artist.js'
import { until } from './support/process.js'
import { type Door, NO_CLUSTER, RealCluster } from './support/real-cluster.js'
import type { RealServer } from './support/real-server.js'

if (NO_CLUSTER) console.warn(`skipped: ${NO_CLUSTER}`)

/** The machine may be busy with other tests; what is waited for usually takes milliseconds. */
const IN_TIME = { timeout: 30_000, interval: 10 }
/** Ops that are on their way when a node is killed. */
const BURST = 50
/** The moment at which a timer fires is not exact. */
const TIMER_SLACK_MS = 2

describe.skipIf(NO_CLUSTER)('against a cluster', () => {
  let cluster: RealCluster
  let [leaving, steady, dying]: RealServer[] = []

  beforeAll(async () => {
    cluster = await RealCluster.start(3)
    ;[leaving, steady, dying] = cluster.nodes
  }, 120_000)
  afterAll(async () => cluster?.stop(), 60_000)

  /** A board whose room lives on this node. */
  async function boardOn(node: RealServer): Promise<RoomInfo> {
    const api = new Api({ origin: steady!.origin })
    let room: RoomInfo
    // A node that is new gets its share of the rooms little by little.
    await until('a room lives there', async () => {
      room = await api.createRoom({ kind: 'board', title: 'Harbour' })
      await api.snapshot(room.id, room.link)
      return node.hosts(room.id)
    })
    return room!
  }

  async function artist(name: string, room: RoomInfo, door: Door): Promise<Artist> {
    const artist = new Artist(name, door, room)
    onTestFinished(() => artist.close())
    await expect.poll(() => artist.board.room.state, IN_TIME).toBe('joined')
    artist.beWatchful()
    return artist
  }

  async function history(room: RoomInfo): Promise<LoggedOp[]> {
    const api = new Api({ origin: steady!.origin })
    const ops: LoggedOp[] = []
    for (let after: number | undefined = 0; after !== undefined; ) {
      const page: Awaited<ReturnType<Api['ops']>> = await api.ops(room.id, { after }, room.link)
      ops.push(...page.ops)
      after = page.next
    }
    return ops
  }

  /** Everything drawn was accepted once, and shown to everybody once, in order. */
  async function expectWhole(room: RoomInfo, artists: Artist[]): Promise<void> {
    const seqs = (await Promise.all(artists.map((artist) => artist.stopDrawing()))).map((seqs) => [...seqs])
    for (const own of seqs) expect(own).toEqual([...own].sort((a, b) => a - b))
    const count = seqs.flat().length
    const all = Array.from({ length: count }, (_, i) => i + 1)
    expect(seqs.flat().sort((a, b) => a - b)).toEqual(all)
    const expected = (await history(room)).map(({ client, op_id }) => `${client} ${op_id}`)
    expect(expected).toHaveLength(count)
    expect(new Set(expected).size).toBe(count)
    for (const { shown, resets } of artists) {
      await expect.poll(() => shown.length, IN_TIME).toBe(count)
      expect(shown.map(({ seq }) => seq)).toEqual(all)
      expect(shown.map(({ op }) => `${op.client} ${op.op_id}`)).toEqual(expected)
      // Nobody had to start over: the one reset is the first join.
      expect(resets).toBe(1)
    }
  }

  const drawn = (artists: Artist[], more: number): Promise<void> => {
    const goals = artists.map(({ answered }) => answered + more)
    const missing = (): number[] => artists.map(({ answered }, i) => Math.max(0, goals[i]! - answered))
    return expect.poll(missing, IN_TIME).toEqual(artists.map(() => 0))
  }

  /** A stroke that grows until the pen lifts. */
  function drawLine(artist: Artist): { pen: Pen; lift: () => Promise<void> } {
    const pen = artist.board.pen({ color: '#3366cc', width: 3 })
    let x = 0
    const moving = setInterval(() => pen.add(++x, x % 7), 20)
    onTestFinished(() => clearInterval(moving))
    const lift = async (): Promise<void> => {
      clearInterval(moving)
      await artist.finish(pen)
    }
    return { pen, lift }
  }

  test('a node is drained and ends, and nobody notices', async () => {
    const room = await boardOn(leaving!)
    const bob = await artist('Bob', room, await cluster.door(steady!))
    const moving: Artist[] = []
    for (const name of ['Ada', 'Cy', 'Dee']) moving.push(await artist(name, room, await cluster.door(leaving!, steady!)))
    const eveDoor = await cluster.door(leaving!, steady!)
    const eve = await artist('Eve', room, eveDoor)
    moving.push(eve)
    const ada = moving[0]!
    const drawing = [ada, bob]
    for (const artist of drawing) artist.startDrawing()
    await drawn(drawing, 20)

    const line = drawLine(ada)
    const shown = (): number => bob.board.live.get(line.pen.element)?.points.length ?? 0
    await expect.poll(shown, IN_TIME).toBeGreaterThan(0)
    const before = shown()
    const interrupted: number[] = []
    bob.board.on('live', () => shown() === 0 && interrupted.push(performance.now()))

    const since = performance.now()
    eveDoor.unasked = 1
    await leaving!.drain()
    expect(await leaving!.isReady()).toBe(false)
    await expect.poll(() => moving.filter(({ sockets }) => !sockets[0]!.closed).map(({ name }) => name), IN_TIME).toEqual([])
    await drawn(drawing, 20)
    await leaving!.terminate()
    await drawn(drawing, 20)
    expect(shown()).toBeGreaterThan(before)
    expect(interrupted).toEqual([])
    await line.lift()

    await expectWhole(room, [bob, ...moving])
    for (const { troubles } of [bob, ...moving]) expect(troubles).toEqual([])
    expect(bob.sockets).toHaveLength(1)
    // Eve was led to the old node once more, which sent her on.
    expect(eve.sockets.splice(1, 1)).toMatchObject([{ closed: { code: 4100 } }])
    for (const { sockets } of moving) {
      expect(sockets).toHaveLength(2)
      const [first, second] = sockets as [SocketLife, SocketLife]
      expect(first.closed).toMatchObject({ code: 1000 })
      expect(first.closed!.at).toBeGreaterThan(second.joinedAt!)
      expect(second.openedAt - first.told!.at).toBeGreaterThanOrEqual(first.told!.afterMs - TIMER_SLACK_MS)
      expect(second.closed).toBeUndefined()
    }
    const delays = moving.map(({ sockets }) => sockets[0]!.told!.afterMs)
    expect(new Set(delays).size, `delays ${delays.join(', ')}`).toBe(moving.length)
    console.info(
      `drain: told to move after ${delays.join(', ')} ms; longest wait for an answer ${ada.longestSilence(since).toFixed(0)} ms ` +
        `for whoever moved, ${bob.longestSilence(since).toFixed(0)} ms for the other, who saw the first one's ops ` +
        `at most ${bob.longestStandstill(ada, since).toFixed(0)} ms apart`,
    )
  }, 60_000)

  test('a node is killed, its people come back by another, and the others stay where they are', async () => {
    const room = await boardOn(dying!)
    const [ada, bob] = [await artist('Ada', room, await cluster.door(dying!, steady!)), await artist('Bob', room, await cluster.door(steady!))]
    for (const artist of [ada, bob]) artist.startDrawing()
    await drawn([ada, bob], 20)

    const since = performance.now()
    for (let i = 0; i < BURST; i++) ada.draw()
    // What is on its way then may have arrived or not.
    await new Promise((resolve) => setImmediate(resolve))
    const unanswered = ada.submitted - ada.answered
    await dying!.kill()
    await expect.poll(() => ada.troubles, IN_TIME).toContain('status offline')
    await expect.poll(() => ada.client.status, IN_TIME).toBe('online')
    await drawn([ada, bob], 20)

    await expectWhole(room, [ada, bob])
    expect(unanswered).toBeGreaterThanOrEqual(BURST)
    expect(ada.troubles).toEqual(['room joining', 'status offline', 'status online', 'room joined'])
    expect(ada.sockets).toHaveLength(2)
    expect(bob.troubles).toEqual([])
    expect(bob.sockets).toHaveLength(1)
    console.info(
      `kill -9 of the owner: longest wait for an answer ${ada.longestSilence(since).toFixed(0)} ms for whoever was connected there, ` +
        `${bob.longestSilence(since).toFixed(0)} ms for the other`,
    )
  }, 60_000)
})
