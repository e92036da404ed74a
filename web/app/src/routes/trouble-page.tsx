/** A board that cannot be shown: says why, kindly, and where to go from here. */

import type { JSX } from 'preact'
import { dialog } from '../state/dialogs'
import { go } from '../state/navigation'
import type { Trouble, TroubleKind } from '../state/trouble'
import { Wordmark } from '../ui/wordmark'

interface Props {
  readonly trouble: Trouble
  readonly onRetry?: () => void
}

export function TroublePage({ trouble, onRetry }: Props): JSX.Element {
  const { kind, title, words, retry, reference } = trouble
  const mayHelp = kind === 'needs-link' || kind === 'signed-out'
  return (
    <main class="trouble" data-trouble={kind}>
      <a class="trouble-home" href="/" aria-label="Enfilade, home" onClick={homeward}>
        <Wordmark />
      </a>
      <div class="trouble-card">
        <Door kind={kind} />
        <h1>{title}</h1>
        <p>{words}</p>
        {reference && <p class="hint">{reference}</p>}
        <div class="trouble-ways">
          {retry && onRetry && (
            <button type="button" class="button primary" onClick={onRetry}>
              {kind === 'signed-out' ? 'Go on as a guest' : 'Try again'}
            </button>
          )}
          {mayHelp && (
            <button type="button" class="button" onClick={() => (dialog.value = 'sign-in')}>
              Sign in
            </button>
          )}
          <a class={retry || mayHelp ? 'button quiet' : 'button'} href="/" onClick={homeward}>
            To the start
          </a>
        </div>
      </div>
    </main>
  )
}

export function homeward(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return
  event.preventDefault()
  go('/')
}

/** A row of doorways that ends at a shut door; only the server's silence leaves the light on. */
function Door({ kind }: { kind: TroubleKind }): JSX.Element {
  return (
    <svg class={`door ${kind === 'gone' ? 'ajar' : 'shut'}`} viewBox="0 0 160 150" aria-hidden="true">
      <path class="door-wall" d="M4 150V84a76 76 0 0 1 152 0v66z" />
      <path class="door-frame" d="M30 150V86a50 50 0 0 1 100 0v64z" />
      <path class="door-leaf" d="M50 150V88a30 30 0 0 1 60 0v62z" />
      <path class="door-light" d="M64 150V91a16 16 0 0 1 32 0v59z" />
      <circle class="door-knob" cx="101" cy="112" r="3.4" />
    </svg>
  )
}
