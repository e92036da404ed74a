/**
 * The pointers of the others, with their names. Positions arrive some twenty times a second; here they glide. A pointer
 * that rests fades, and one that rests for long is put away.
 */

import type { Board, Cursor } from '@enfilade/client'
import type { Stage } from '../canvas/stage'
import { toScreen } from '../canvas/viewport'
import { colorOf } from '../state/people'

/** Milliseconds in which a pointer goes most of the way to where it is said to be. */
const GLIDE = 55
const RESTING_AFTER = 4_000
const AWAY_AFTER = 20_000
/** More pointers than this would be a swarm; the ones that moved last are shown. */
const SHOWN_MAX = 40

interface Pointer {
  readonly element: HTMLElement
  x: number
  y: number
  target: Cursor
  movedAt: number
}

export class Cursors {
  readonly #layer: HTMLElement
  readonly #board: Board
  readonly #stage: Stage
  readonly #pointers = new Map<string, Pointer>()
  readonly #stop: (() => void)[]
  #frame = 0
  #before = 0
  #resting: ReturnType<typeof setTimeout> | undefined

  constructor(layer: HTMLElement, board: Board, stage: Stage) {
    this.#layer = layer
    this.#board = board
    this.#stage = stage
    this.#stop = [
      board.on('cursors', (cursors) => this.#heard(cursors)),
      board.room.on('presence', () => this.#rename()),
      stage.onLook(() => this.#wake()),
    ]
  }

  close(): void {
    for (const stop of this.#stop) stop()
    cancelAnimationFrame(this.#frame)
    clearTimeout(this.#resting)
    for (const pointer of this.#pointers.values()) pointer.element.remove()
  }

  #heard(cursors: ReadonlyMap<string, Cursor>): void {
    const now = performance.now()
    for (const [client, pointer] of this.#pointers) {
      if (cursors.has(client)) continue
      pointer.element.remove()
      this.#pointers.delete(client)
    }
    for (const [client, cursor] of cursors) this.#aim(client, cursor, now)
    this.#wake()
  }

  #aim(client: string, cursor: Cursor, now: number): void {
    const pointer = this.#pointers.get(client)
    if (!pointer) {
      if (this.#pointers.size >= SHOWN_MAX) this.#putAwayOldest()
      this.#pointers.set(client, {
        element: this.#make(cursor),
        x: cursor.x,
        y: cursor.y,
        target: cursor,
        movedAt: now,
      })
      return
    }
    if (pointer.target.x !== cursor.x || pointer.target.y !== cursor.y) pointer.movedAt = now
    pointer.target = cursor
  }

  #putAwayOldest(): void {
    const oldest = [...this.#pointers].sort(([, a], [, b]) => a.movedAt - b.movedAt)[0]
    if (!oldest) return
    oldest[1].element.remove()
    this.#pointers.delete(oldest[0])
  }

  #make(cursor: Cursor): HTMLElement {
    const element = document.createElement('div')
    element.className = 'cursor'
    element.style.setProperty('--person', colorOf(cursor.author))
    element.append(arrow(), document.createElement('span'))
    this.#name(element, cursor.author)
    this.#layer.append(element)
    return element
  }

  #rename(): void {
    for (const { element, target } of this.#pointers.values()) this.#name(element, target.author)
  }

  #name(element: HTMLElement, author: string): void {
    const label = element.querySelector('span')
    if (label) label.textContent = this.#board.room.presence.members.get(author)?.name ?? ''
  }

  #wake(): void {
    if (this.#frame !== 0) return
    this.#before = performance.now()
    this.#frame = requestAnimationFrame((now) => this.#glide(now))
  }

  #glide(now: number): void {
    this.#frame = 0
    const share = 1 - Math.exp(-Math.max(1, now - this.#before) / GLIDE)
    let gliding = false
    for (const pointer of this.#pointers.values()) gliding = this.#move(pointer, share, now) || gliding
    this.#before = now
    if (gliding) this.#frame = requestAnimationFrame((next) => this.#glide(next))
    else this.#lookAgainLater()
  }

  #move(pointer: Pointer, share: number, now: number): boolean {
    const dx = pointer.target.x - pointer.x
    const dy = pointer.target.y - pointer.y
    const far = Math.hypot(dx, dy) * this.#stage.view.zoom > 0.5
    pointer.x += far ? dx * share : dx
    pointer.y += far ? dy * share : dy
    const at = toScreen(this.#stage.view, pointer)
    pointer.element.style.transform = `translate(${at.x}px, ${at.y}px)`
    const rest = now - pointer.movedAt
    pointer.element.dataset['rest'] = rest > AWAY_AFTER ? 'away' : rest > RESTING_AFTER ? 'resting' : 'moving'
    return far
  }

  #lookAgainLater(): void {
    clearTimeout(this.#resting)
    if (this.#pointers.size > 0) this.#resting = setTimeout(() => this.#wake(), 1_000)
  }
}

const SVG = 'http://www.w3.org/2000/svg'

export function arrow(): SVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 20 20')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', 'M2 1.6l5.2 15.2 2.7-6.2 6.4-2.3z')
  svg.append(path)
  return svg
}
