/** A button that opens a small panel beside it. A press elsewhere, Escape, or leaving with Tab closes it. */

import { type ComponentChildren, type JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

interface Props {
  readonly label: string
  readonly button: ComponentChildren
  readonly children: (close: () => void) => ComponentChildren
  readonly className?: string
  readonly side?: 'below-left' | 'below-right' | 'above'
  readonly onOpen?: () => void
  readonly title?: string
}

export function Popover({
  label,
  button,
  children,
  className = 'icon-button',
  side = 'below-right',
  onOpen,
  title,
}: Props): JSX.Element {
  const [open, setOpen] = useState(false)
  const whole = useRef<HTMLDivElement>(null)
  const opener = useRef<HTMLButtonElement>(null)
  const close = () => setOpen(false)
  useEffect(() => (open && whole.current ? closeOutside(whole.current, opener.current, close) : undefined), [open])
  const toggle = () => {
    if (!open) onOpen?.()
    setOpen(!open)
  }
  return (
    <div class="popover" ref={whole}>
      <button
        ref={opener}
        type="button"
        class={className}
        aria-label={label}
        aria-expanded={open}
        title={title ?? label}
        onClick={toggle}
      >
        {button}
      </button>
      {open && <div class={`panel ${side}`}>{children(close)}</div>}
    </div>
  )
}

function closeOutside(whole: HTMLElement, opener: HTMLElement | null, close: () => void): () => void {
  const listening = new AbortController()
  const { signal } = listening
  const outside = (event: Event) => !whole.contains(event.target as Node) && close()
  addEventListener('pointerdown', outside, { signal, capture: true })
  whole.addEventListener(
    'focusout',
    (event) => event.relatedTarget && !whole.contains(event.relatedTarget as Node) && close(),
    { signal },
  )
  whole.addEventListener(
    'keydown',
    (event) => {
      if (event.key !== 'Escape') return
      event.stopPropagation()
      close()
      opener?.focus()
    },
    { signal },
  )
  return () => listening.abort()
}
