/** Random interleavings: whatever happens on the way, everybody ends up with the plain replay of the history. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { Board } from '../src/board.js'
import { BoardState } from '../src/board-state.js'
import { Client } from '../src/client.js'
import type { Submission } from '../src/outbox.js'
import type { BoardOp, ClientMessage, Element } from '../src/types.js'
import { boardOp } from './support/arbitrary.js'
import { ROOM } from './support/arrange.js'
import { FakeClock, settled } from './support/fake-clock.js'
import { type FakeConnection, FakeServer, socketsTo } from './support/fake-server.js'

type Step =
  | { do: 'mine'; op: BoardOp }
  | { do: 'theirs'; op: BoardOp }
  | { do: 'undo' | 'redo' | 'wait' | 'lose' | 'hold' | 'release' | 'refuse' | 'reset' | 'move' | 'late' | 'told' | 'whole' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: boardOp.map((op): Step => ({ do: 'mine', op })) },
  { weight: 5, arbitrary: boardOp.map((op): Step => ({ do: 'theirs', op })) },
  { weight: 6, arbitrary: fc.constantFrom<Step>({ do: 'undo' }, { do: 'redo' }) },
  {
    weight: 8,
    arbitrary: fc.constantFrom<Step>(
      { do: 'wait' },
      { do: 'lose' },
      { do: 'hold' },
      { do: 'release' },
      { do: 'refuse' },
      { do: 'reset' },
      { do: 'move' },
      { do: 'late' },
      { do: 'told' },
      { do: 'whole' },
    ),
  },
)

const seen = (elements: readonly Element[]): Element[] =>
  [...elements].sort((a, b) => (a.element < b.element ? -1 : 1)).filter(({ deleted_by }) => deleted_by === undefined)

/** Where own ops will stand in the pile is only foretold. */
const withoutZ = ({ z: _, ...element }: Element): object => element

describe('a board', () => {
  test('ends up as the plain replay of the history, whatever happens on the way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })), async (steps, chance) => {
        const run = new Run(() => chance.next().value as number)
        try {
          for (const step of steps) {
            await run.take(step)
            expect(seen(run.mine.elements()).map(withoutZ)).toEqual(seen(run.expected()).map(withoutZ))
          }
          await run.finish()
          expect(run.mine.room.unanswered).toBe(0)
          expect(seen(run.mine.elements())).toEqual(seen(run.server.elements(ROOM)))
          expect(seen(run.painted())).toEqual(seen(run.server.elements(ROOM)))
          expect(run.settledResults()).toEqual(run.expectedResults())
        } finally {
          run.client.close()
        }
      }),
      { numRuns: 400, endOnFailure: false },
    )
  }, 120_000)
})

/** One client with a board, a server, and somebody who keeps a picture by change sets alone, as a canvas does. */
class Run {
  readonly server = new FakeServer()
  readonly clock = new FakeClock()
  readonly client: Client
  readonly mine: Board
  readonly #picture = new Map<string, Element>()
  readonly #results: { opId: number; outcome: Promise<number | 'refused'> }[] = []
  #outcomes: (number | 'refused')[] = []
  readonly #confirmed = new BoardState()
  readonly #own: Submission[] = []
  #held: (() => void)[] = []
  #holding = false
  #refusing = false
  /** Answers come, the ops themselves do not yet. */
  #late = false

  constructor(random: () => number) {
    this.client = new Client({
      url: this.server.url,
      credentials: () => ({ guest: { name: 'Ada' } }),
      WebSocket: socketsTo(this.server),
      clock: this.clock,
      random,
    })
    this.server.intercept = (connection, message) => {
      if (message.type !== 'submit') return false
      if (this.#refusing) {
        this.#refusing = false
        connection.refuse(message.id, 'busy', 20)
        return true
      }
      if (this.#holding) {
        this.#held.push(() => connection.take(connection.codec.encode(message).body))
        return true
      }
      if (this.#refuseNonsense(message.data.op, () => connection.refuse(message.id, 'unknown_element'))) return true
      return this.#late && this.#answerAlone(connection, message)
    }
    this.mine = new Board(this.client.join(ROOM))
    this.mine.on('change', ({ all, ids }) => this.#paint(all ? null : ids))
    this.mine.room.on('reset', ({ snapshot }) => void this.#confirmed.load(snapshot))
    this.mine.room.on('ops', ({ firstSeq, ops }) => {
      ops.forEach(({ op, author }, i) => this.#confirmed.apply(op, { seq: firstSeq + i, author }))
    })
    this.mine.room.on('submitted', (submission) => {
      this.#own.push(submission)
      const outcome = submission.result.catch(() => 'refused' as const)
      this.#results.push({ get opId() { return submission.opId }, outcome })
    })
  }

  async take(step: Step): Promise<void> {
    if (step.do === 'mine') this.mine.submit(step.op).catch(() => {})
    if (step.do === 'theirs') this.server.somebody(ROOM, step.op)
    if (step.do === 'undo') this.mine.undo()
    if (step.do === 'redo') this.mine.redo()
    if (step.do === 'wait') await this.clock.advance(100)
    if (step.do === 'hold') this.#holding = true
    if (step.do === 'release') this.#release()
    if (step.do === 'refuse') this.#refusing = true
    if (step.do === 'reset') this.server.room(ROOM).bridgesFrom = this.server.room(ROOM).log.length + 1
    if (step.do === 'late') this.#late = true
    if (step.do === 'told') this.#tell()
    if (step.do === 'whole') this.#sendWhole()
    if (step.do === 'lose') this.server.connections.at(-1)?.close(4000)
    if (step.do === 'move') {
      this.server.connections.at(-1)?.send({ type: 'reconnect', data: { after_ms: 10, resume: this.client.resume ?? '' } })
    }
    if (Math.abs(this.clock.now()) % 3 === 0) await settled()
  }

  async finish(): Promise<void> {
    await this.clock.advance(1_000)
    this.#release()
    this.#refusing = false
    this.#tell()
    await this.clock.advance(40_000)
    for (const connection of this.server.open) connection.ping()
    await this.clock.advance(40_000)
    this.#outcomes = await Promise.all(this.#results.map(({ outcome }) => outcome))
  }

  /** What is to be seen: what is confirmed, and on top all own ops that are not. */
  expected(): Element[] {
    const state = new BoardState()
    state.load(this.#confirmed.snapshot())
    const seqs = new Map<Submission, number>()
    const author = this.client.user?.id ?? '00000000-0000-0000-0000-000000000000'
    const { seq: confirmed } = this.#confirmed
    const pending = this.#own.filter(({ refusal, seq }) => !refusal && (seq === null || seq > confirmed))
    pending.forEach((submission, i) => {
      const seq = submission.seq ?? confirmed + 1_000 + i
      seqs.set(submission, seq)
      const { after } = submission
      const deleted_by = after ? (after.seq ?? seqs.get(after)!) : 0
      state.apply(after ? { type: 'restore', data: { deleted_by } } : submission.op, { seq, author })
    })
    return [...state.elements.values()]
  }

  painted(): Element[] {
    return [...this.#picture.values()]
  }

  settledResults(): [number, number | 'refused'][] {
    return this.#results.map(({ opId }, i) => [opId, this.#outcomes[i]!])
  }

  /** What the history says of each op: its seq, or that it is not there. Each is there once. */
  expectedResults(): [number, number | 'refused'][] {
    const seqs = new Map<number, number>()
    this.server.room(ROOM).log.forEach(({ client, op_id }, i) => {
      if (client !== this.client.id) return
      expect(seqs.has(op_id)).toBe(false)
      seqs.set(op_id, i + 1)
    })
    return this.#results.map(({ opId }) => [opId, seqs.get(opId) ?? 'refused'])
  }

  #paint(ids: ReadonlySet<string> | null): void {
    if (!ids) {
      this.#picture.clear()
      for (const element of this.mine.elements()) this.#picture.set(element.element, element)
    }
    for (const id of ids ?? []) {
      const element = this.mine.view(id)
      if (element) this.#picture.set(id, element)
      else this.#picture.delete(id)
    }
    const shown = seen(this.mine.elements())
    // The pile and the views are two ways to the same board, and both are in order.
    expect(shown).toEqual(shown.map(({ element }) => this.mine.view(element)))
    const heights = this.mine.elements().map(({ z }) => z)
    expect(heights).toEqual([...heights].sort((a, b) => a - b))
  }

  #release(): void {
    this.#holding = false
    for (const release of this.#held.splice(0)) release()
  }

  #answerAlone(connection: FakeConnection, message: Extract<ClientMessage, { type: 'submit' }>): boolean {
    const { op, op_id } = message.data
    const { answers, log } = this.server.room(ROOM)
    const name = `${connection.client} ${op_id}`
    if (answers.has(name) || !connection.joined.has(ROOM)) return false
    log.push({ author: connection.user!.id, client: connection.client!, op_id, at: 0, op })
    answers.set(name, log.length)
    connection.reply(message.id, { type: 'accepted', data: { seq: log.length } } as never)
    return true
  }

  /** The client finds out what it missed. */
  #tell(): void {
    this.#late = false
    for (const connection of this.server.open) connection.ping()
  }

  #sendWhole(): void {
    const { epoch, log } = this.server.room(ROOM)
    const snapshot = this.server.state(ROOM).snapshot()
    const data = { room: ROOM, position: { epoch, seq: log.length }, snapshot }
    for (const connection of this.server.open) if (connection.joined.has(ROOM)) connection.send({ type: 'reset', data })
  }

  /** As the real one: an op that names nothing that is there is refused. */
  #refuseNonsense(op: BoardOp, refuse: () => void): boolean {
    const { elements } = this.server.state(ROOM)
    const named = (op.data as { elements?: string[]; element?: string }).elements
    const known =
      op.type === 'restore'
        ? [...elements.values()].some(({ deleted_by }) => deleted_by === op.data.deleted_by)
        : op.type === 'change'
          ? elements.has(op.data.element)
          : !named || named.some((id) => elements.has(id))
    if (!known) refuse()
    return !known
  }
}
