/** The saved, saving, offline light; a press tells what it means. */

import type { JSX } from 'preact'
import type { BoardSession } from '../state/board-session'
import { Popover } from './popover'

export function IndicatorPill({ session }: { session: BoardSession }): JSX.Element {
  const { safety, label, explanation } = session.indication.value
  return (
    <Popover
      label={`${label}: what does that mean?`}
      title={explanation}
      className={`indicator ${safety}`}
      side="below-left"
      button={
        <>
          <span class="light" aria-hidden="true" />
          <span role="status" class="indicator-label">
            {label}
          </span>
        </>
      }
    >
      {(close) => (
        <div class="explanation">
          <p>{explanation}</p>
          {safety === 'refused' && (
            <button
              type="button"
              class="button small"
              onClick={() => {
                session.acknowledgeRefusals()
                close()
              }}
            >
              Understood
            </button>
          )}
        </div>
      )}
    </Popover>
  )
}
