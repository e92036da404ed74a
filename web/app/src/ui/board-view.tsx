/** The board on the screen: the canvas with its hands and tools, and the furniture around it. */

import { useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { measurer, Stage } from '../canvas/stage'
import type { Viewport } from '../canvas/viewport'
import type { BoardSession } from '../state/board-session'
import { penStyle, tool } from '../state/drawing'
import { Feed } from '../state/feed'
import { theme } from '../state/theme'
import { EraserTool } from '../tools/eraser-tool'
import { Hands } from '../tools/hands'
import { LiveInk } from '../tools/live-ink'
import { PenTool } from '../tools/pen-tool'
import { BoardFurniture } from './board-furniture'
import { Cursors } from './cursors'
import { listenToKeys } from './keyboard'

export function BoardView({ session }: { session: BoardSession }): JSX.Element {
  const surface = useRef<HTMLDivElement>(null)
  const stage = useSignal<Stage | undefined>(undefined)
  const elements = useSignal(0)

  useEffect(() => {
    if (!surface.current) return
    const opened = open(surface.current, session, (count) => (elements.value = count))
    stage.value = opened.stage
    return opened.close
  }, [session])

  if (stage.value) stage.value.theme = theme.value
  const effective = session.canEdit.value ? tool.value : 'hand'
  const label = `Drawing board with ${elements.value === 1 ? '1 element' : `${elements.value} elements`}`
  return (
    <main class="board">
      <div
        ref={surface}
        class="surface"
        data-tool={effective}
        data-elements={elements.value}
        role="img"
        aria-label={label}
      >
        <canvas class="sheet" />
        <canvas class="sheet" />
        <div class="cursors" aria-hidden="true" />
      </div>
      {stage.value && <BoardFurniture session={session} stage={stage.value} empty={elements.value === 0} />}
    </main>
  )
}

/** Where one last looked: a new name, or a short way home and back, is no reason to lose one's place. */
let lastLook: { readonly room: string; readonly view: Viewport } | undefined

function open(surface: HTMLElement, session: BoardSession, counted: (elements: number) => void) {
  const [lower, upper] = surface.querySelectorAll('canvas')
  const layer = surface.querySelector<HTMLElement>('.cursors')
  if (!lower || !upper || !layer) throw new Error('the board has lost its sheets')
  const { board } = session
  const stage = new Stage(lower, upper, theme.peek())
  const stopSizing = followSize(surface, stage)
  const room = board.room.id
  const kept = lastLook?.room === room ? lastLook.view : undefined
  const lookAround = () => (kept ? stage.look(kept) : stage.lookAtEverything())
  lookAround()
  const pen = new PenTool(board, stage, () => penStyle())
  const eraser = new EraserTool(board, stage)
  const liveInk = new LiveInk(board, stage)
  const cursors = new Cursors(layer, board, stage)
  const feed = new Feed(board, stage, measurer(), lookAround, counted)
  const hands = new Hands(surface, stage, {
    tool: (name) => {
      const wanted = name === 'chosen' ? tool.peek() : name
      if (!session.canEdit.peek() || wanted === 'hand') return undefined
      return wanted === 'pen' ? pen : eraser
    },
    pointed: (at) => session.canEdit.peek() && board.cursor(at),
  })
  const stopKeys = listenToKeys({ session, stage, hands })
  // Lettering that was painted before its face had arrived is painted again.
  void document.fonts.ready.then(() => stage.repaintAll())
  const close = () => {
    lastLook = { room, view: stage.view }
    stopKeys()
    stopSizing()
    for (const part of [hands, pen, eraser, liveInk, cursors, feed, stage]) part.close()
  }
  return { stage, close }
}

function followSize(surface: HTMLElement, stage: Stage): () => void {
  const measure = () => stage.resize({ width: surface.clientWidth, height: surface.clientHeight })
  measure()
  const observer = new ResizeObserver(measure)
  observer.observe(surface)
  return () => observer.disconnect()
}
