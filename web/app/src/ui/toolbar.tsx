/** The tools, at the thumb's reach: what to draw with, in which colour, how wide, and the way back. */

import type { JSX } from 'preact'
import { PALETTE } from '../canvas/ink'
import type { BoardSession } from '../state/board-session'
import { chooseColor, chooseWidth, colorIndex, tool, WIDTH_NAMES, widthIndex, WIDTHS } from '../state/drawing'
import { theme } from '../state/theme'
import type { ToolName } from '../tools/tool'
import { Icon, type IconName } from './icons'
import { Popover } from './popover'

/** How large each width looks on its button: told apart at a glance, not to scale. */
const DOTS = [4, 8, 12, 18] as const

export function Toolbar({ session }: { session: BoardSession }): JSX.Element {
  return (
    <div class="toolbar" role="toolbar" aria-label="Drawing tools">
      <div class="group">
        <ToolButton name="pen" icon="pen" label="Pen (P)" />
        <ToolButton name="eraser" icon="eraser" label="Eraser (E)" />
        <ToolButton name="hand" icon="hand" label="Hand (H)" />
      </div>
      <div class="group inks roomy">
        <Colors />
      </div>
      <div class="group roomy">
        <Widths />
      </div>
      <div class="group cramped">
        <Popover
          label={`Colour and width: ${PALETTE[colorIndex.value]?.name}, ${WIDTH_NAMES[widthIndex.value]}`}
          className="tool ink-well"
          side="above"
          button={<Nib />}
        >
          {() => (
            <div class="ink-panel">
              <div class="inks">
                <Colors />
              </div>
              <div class="widths">
                <Widths />
              </div>
            </div>
          )}
        </Popover>
      </div>
      <div class="group">
        <button
          type="button"
          class="tool"
          aria-label="Undo"
          title="Undo"
          disabled={!session.canUndo.value}
          onClick={() => session.board.undo()}
        >
          <Icon name="undo" />
        </button>
        <button
          type="button"
          class="tool"
          aria-label="Redo"
          title="Redo"
          disabled={!session.canRedo.value}
          onClick={() => session.board.redo()}
        >
          <Icon name="redo" />
        </button>
      </div>
    </div>
  )
}

function ToolButton({ name, icon, label }: { name: ToolName; icon: IconName; label: string }): JSX.Element {
  const choose = () => {
    tool.value = name
  }
  return (
    <button
      type="button"
      class="tool"
      aria-label={label}
      title={label}
      aria-pressed={tool.value === name}
      onClick={choose}
    >
      <Icon name={icon} />
    </button>
  )
}

function Colors(): JSX.Element {
  return (
    <div class="choices" role="radiogroup" aria-label="Colour">
      {PALETTE.map((ink, index) => (
        <button
          key={ink.name}
          type="button"
          role="radio"
          class="ink"
          aria-checked={colorIndex.value === index}
          aria-label={ink.name}
          title={`${ink.name} (${index + 1})`}
          style={{ '--ink-color': ink[theme.value] }}
          onClick={() => chooseColor(index)}
        />
      ))}
    </div>
  )
}

function Widths(): JSX.Element {
  return (
    <div class="choices" role="radiogroup" aria-label="Width">
      {WIDTHS.map((width, index) => (
        <button
          key={width}
          type="button"
          role="radio"
          class="width"
          aria-checked={widthIndex.value === index}
          aria-label={WIDTH_NAMES[index]}
          title={`${WIDTH_NAMES[index]} ([ and ])`}
          onClick={() => chooseWidth(index)}
        >
          <span style={{ '--dot': `${DOTS[index]}px` }} />
        </button>
      ))}
    </div>
  )
}

function Nib(): JSX.Element {
  const ink = PALETTE[colorIndex.value]
  return (
    <span class="nib" style={{ '--ink-color': ink?.[theme.value] ?? '', '--dot': `${8 + widthIndex.value * 4}px` }} />
  )
}
