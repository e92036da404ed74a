/** How near one is, and the way nearer, farther, and back to everything. */

import { useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { Stage } from '../canvas/stage'
import { zoomAt, zoomStep } from '../canvas/viewport'
import { Icon } from './icons'

export function ZoomBar({ stage }: { stage: Stage }): JSX.Element {
  const zoom = useSignal(stage.view.zoom)
  useEffect(() => stage.onLook((view) => (zoom.value = view.zoom)), [stage])
  return (
    <div class="zoom-bar" role="group" aria-label="Zoom">
      <button
        type="button"
        class="icon-button"
        aria-label="Zoom out"
        title="Zoom out (−)"
        onClick={() => stepZoom(stage, -1)}
      >
        <Icon name="minus" />
      </button>
      <button type="button" class="zoom-value" title="Actual size (0)" onClick={() => setZoom(stage, 1)}>
        {Math.round(zoom.value * 100)}%
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label="Zoom in"
        title="Zoom in (+)"
        onClick={() => stepZoom(stage, 1)}
      >
        <Icon name="plus" />
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label="Everything in sight"
        title="Everything in sight (F)"
        onClick={() => stage.lookAtEverything()}
      >
        <Icon name="fit" />
      </button>
    </div>
  )
}

export function setZoom(stage: Stage, zoom: number): void {
  const middle = { x: stage.size.width / 2, y: stage.size.height / 2 }
  stage.look(zoomAt(stage.view, middle, zoom))
}

export const stepZoom = (stage: Stage, direction: 1 | -1): void => setZoom(stage, zoomStep(stage.view.zoom, direction))
