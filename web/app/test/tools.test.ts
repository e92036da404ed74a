import { type Board, type BoardOp, type Color } from '@enfilade/client'
import { describe, expect, test } from 'vitest'
import { rectOf } from '../src/canvas/geometry'
import { Scene } from '../src/canvas/scene'
import type { Stage } from '../src/canvas/stage'
import { deletions, EraserTool } from '../src/tools/eraser-tool'
import { commandFor } from '../src/tools/keys'
import { PART_POINTS, PenTool } from '../src/tools/pen-tool'
import { stroke } from './shapes'

/** A board that keeps what the tools do to it. */
class Paper {
  readonly strokes: [number, number, number][][] = []
  readonly cancelled: number[] = []
  readonly ops: BoardOp[][] = []

  pen(_style: { color: Color; width: number }) {
    const points: [number, number, number][] = []
    return {
      full: false,
      points: new Float32Array(),
      add: (x: number, y: number, pressure: number) => points.push([x, y, pressure]),
      finish: async () => this.strokes.push(points),
      cancel: () => this.cancelled.push(points.length),
    }
  }

  async submit(...ops: BoardOp[]): Promise<number> {
    return this.ops.push(ops)
  }
}

function table() {
  const paper = new Paper()
  const scene = new Scene()
  const stage = {
    scene,
    view: { x: 0, y: 0, zoom: 1 },
    theme: 'light',
    overlay: () => () => undefined,
    touchOverlay: () => undefined,
  }
  return { paper, scene, board: paper as unknown as Board, stage: stage as unknown as Stage }
}

describe('the pen', () => {
  const style = () => ({ color: '#000000', width: 4 })

  test('saves a long stroke in parts that meet', () => {
    const { paper, board, stage } = table()
    const pen = new PenTool(board, stage, style)
    const total = PART_POINTS * 2 + 500
    pen.down({ x: 0, y: 0, time: 0 })
    for (let i = 1; i < total; i += 1) pen.move([{ x: i * 3, y: 0, time: i * 4 }], [])
    pen.up({ x: total * 3, y: 0, time: total * 4 })
    expect(paper.strokes.length).toBe(3)
    for (const part of paper.strokes) expect(part.length).toBeLessThanOrEqual(PART_POINTS)
    for (const [i, part] of paper.strokes.slice(1).entries()) expect(part[0]).toEqual(paper.strokes[i]!.at(-1))
    expect(paper.strokes.at(-1)!.at(-1)![0]).toBe(total * 3)
  })

  test('makes a dot of a tap', () => {
    const { paper, board, stage } = table()
    const pen = new PenTool(board, stage, style)
    pen.down({ x: 7, y: 8, time: 0 })
    pen.up({ x: 7, y: 8, time: 90 })
    expect(paper.strokes.map((points) => points.map(([x, y]) => [x, y]))).toEqual([[[7, 8]]])
  })

  test('takes back what became a pinch', () => {
    const { paper, board, stage } = table()
    const pen = new PenTool(board, stage, style)
    pen.down({ x: 0, y: 0, time: 0 })
    pen.cancel()
    pen.up({ x: 50, y: 0, time: 50 })
    expect(paper.strokes).toEqual([])
    expect(paper.cancelled).toEqual([1])
  })
})

describe('the eraser', () => {
  test('takes everything that one gesture touched in one step', () => {
    const { paper, scene, board, stage } = table()
    for (let i = 0; i < 5; i += 1) scene.put(stroke(`s${i}`, [i * 50, 0, i * 50, 100], { z: i }))
    const eraser = new EraserTool(board, stage)
    eraser.down({ x: -5, y: 50, time: 0 })
    eraser.move([
      { x: 60, y: 50, time: 8 },
      { x: 110, y: 50, time: 16 },
    ])
    eraser.up({ x: 110, y: 50, time: 20 })
    expect(paper.ops).toEqual([[{ type: 'delete', data: { elements: ['s0', 's1', 's2'] } }]])
  })

  test('takes nothing when it touched nothing, or what others have taken meanwhile', () => {
    const { paper, scene, board, stage } = table()
    scene.put(stroke('s', [0, 0, 0, 100]))
    const eraser = new EraserTool(board, stage)
    eraser.down({ x: 500, y: 500, time: 0 })
    eraser.up({ x: 500, y: 500, time: 9 })
    eraser.down({ x: 0, y: 50, time: 20 })
    scene.remove('s')
    eraser.up({ x: 0, y: 50, time: 29 })
    expect(paper.ops).toEqual([])
    expect(scene.within(rectOf(-10, -10, 200, 200))).toEqual([])
  })

  test('stays within what one op may name', () => {
    const ids = Array.from({ length: 4_100 }, (_, i) => `e${i}`)
    const ops = deletions(ids)
    expect(ops.map((op) => (op.type === 'delete' ? op.data.elements.length : 0))).toEqual([2_000, 2_000, 100])
    expect(deletions([])).toEqual([])
  })
})

describe('the keys', () => {
  const press = (key: string, more = {}) =>
    commandFor({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more })

  test('undo and redo on every system', () => {
    expect(press('z', { ctrlKey: true })).toEqual({ kind: 'undo' })
    expect(press('Z', { metaKey: true, shiftKey: true })).toEqual({ kind: 'redo' })
    expect(press('y', { ctrlKey: true })).toEqual({ kind: 'redo' })
  })

  test('leave the browser what is the browser’s', () => {
    for (const key of ['r', 'l', 't', 'p', 's', 'f', '1']) expect(press(key, { ctrlKey: true }), key).toBeUndefined()
    expect(press('e', { altKey: true })).toBeUndefined()
  })

  test('choose tools and colours', () => {
    expect(press('E')).toEqual({ kind: 'tool', tool: 'eraser' })
    expect(press('3')).toEqual({ kind: 'color', index: 2 })
    expect(press('9')).toBeUndefined()
  })
})
