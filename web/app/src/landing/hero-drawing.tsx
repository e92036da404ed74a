/** The drawing beside the pitch. */

import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { theme } from '../state/theme'
import { SketchPlayer } from './sketch-player'

export function HeroDrawing(): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null)
  const player = useRef<SketchPlayer>(undefined)
  useEffect(() => {
    if (!canvas.current) return
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches
    const playing = new SketchPlayer(canvas.current, theme.peek(), !still)
    player.current = playing
    const observer = new ResizeObserver(() => playing.resize())
    observer.observe(canvas.current)
    return () => {
      observer.disconnect()
      playing.close()
    }
  }, [])
  const current = theme.value
  useEffect(() => {
    if (player.current) player.current.theme = current
  }, [current])
  return (
    <canvas
      ref={canvas}
      class="hero-drawing"
      role="img"
      aria-label="Four people draw a row of doorways together, with a plant, a chair, a cat and lamps."
    />
  )
}
