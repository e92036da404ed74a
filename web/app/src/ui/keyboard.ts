/** Carries out what the keys say, unless somebody is typing or a dialog is open. */

import { PALETTE } from '../canvas/ink'
import type { Stage } from '../canvas/stage'
import type { BoardSession } from '../state/board-session'
import { dialog } from '../state/dialogs'
import { chooseColor, chooseWidth, tool, widthIndex } from '../state/drawing'
import type { Hands } from '../tools/hands'
import { type Command, commandFor } from '../tools/keys'
import { setZoom, stepZoom } from './zoom-bar'

interface Reach {
  readonly session: BoardSession
  readonly stage: Stage
  readonly hands: Hands
}

export function listenToKeys(reach: Reach): () => void {
  const listening = new AbortController()
  const { signal } = listening
  addEventListener('keydown', (event) => pressed(event, reach), { signal })
  addEventListener('keyup', (event) => event.code === 'Space' && holdSpace(reach, false), { signal })
  addEventListener('blur', () => holdSpace(reach, false), { signal })
  return () => listening.abort()
}

function pressed(event: KeyboardEvent, reach: Reach): void {
  if (event.defaultPrevented || dialog.value || isTyping(event.target)) return
  if (event.code === 'Space' && !(event.target instanceof HTMLButtonElement)) {
    event.preventDefault()
    return holdSpace(reach, true)
  }
  const command = commandFor(event)
  if (!command) return
  event.preventDefault()
  obey(command, reach)
}

function holdSpace({ hands }: Reach, held: boolean): void {
  hands.spaceHeld = held
  document.querySelector<HTMLElement>('.surface')?.toggleAttribute('data-space', held)
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

function obey(command: Command, { session, stage, hands }: Reach): void {
  const edits = session.canEdit.value
  switch (command.kind) {
    case 'tool':
      if (edits) tool.value = command.tool
      return
    case 'color':
      if (edits && command.index < PALETTE.length) chooseColor(command.index)
      return
    case 'width':
      if (edits) chooseWidth(widthIndex.value + command.by)
      return
    case 'undo':
      if (edits && !hands.busy) session.board.undo()
      return
    case 'redo':
      if (edits && !hands.busy) session.board.redo()
      return
    case 'zoom-in':
      return stepZoom(stage, 1)
    case 'zoom-out':
      return stepZoom(stage, -1)
    case 'zoom-actual':
      return setZoom(stage, 1)
    case 'zoom-fit':
      return stage.lookAtEverything()
    case 'help':
    case 'share':
      dialog.value = command.kind
      return
    case 'cancel':
      return hands.cancel()
  }
}
