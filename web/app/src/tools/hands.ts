/**
 * From pointers to gestures. Mouse, pen and fingers come in as pointer events; out go panning, zooming, and the gestures
 * of the chosen tool. One finger draws until a pen was seen; then it moves the paper, because a hand rests on it.
 */

import type { Point } from '../canvas/geometry'
import type { Stage } from '../canvas/stage'
import { panBy, pinch, toBoard, zoomAt } from '../canvas/viewport'
import type { Sample } from './smoothing'
import type { Tool, ToolName } from './tool'

export interface Handlers {
  /** The tool that a gesture begins with; undefined moves the paper. */
  tool(name: ToolName | 'chosen'): Tool | undefined
  /** Where the pointer is on the board; null when it left. */
  pointed(at: Point | null): void
}

type Gesture =
  | { readonly kind: 'pan'; readonly pointer: number; last: Point }
  | { readonly kind: 'pinch'; last: readonly [Point, Point]; readonly pointers: readonly [number, number] }
  | { readonly kind: 'tool'; readonly pointer: number; readonly tool: Tool; readonly finger: boolean }

/** Bits of `PointerEvent.buttons`. */
const MIDDLE = 4
const PEN_ERASER = 32

export class Hands {
  readonly #surface: HTMLElement
  readonly #stage: Stage
  readonly #handlers: Handlers
  readonly #fingers = new Map<number, Point>()
  readonly #listening = new AbortController()
  #gesture: Gesture | undefined
  #penSeen = false
  #spaceHeld = false
  #pinchZoom = 1

  constructor(surface: HTMLElement, stage: Stage, handlers: Handlers) {
    this.#surface = surface
    this.#stage = stage
    this.#handlers = handlers
    this.#listen()
  }

  /** Space is held: the next drag moves the paper. */
  set spaceHeld(held: boolean) {
    this.#spaceHeld = held
  }

  get busy(): boolean {
    return this.#gesture?.kind === 'tool'
  }

  cancel(): void {
    if (this.#gesture?.kind === 'tool') this.#gesture.tool.cancel()
    this.#end()
  }

  close(): void {
    this.cancel()
    this.#listening.abort()
  }

  #listen(): void {
    const { signal } = this.#listening
    const on = <K extends keyof HTMLElementEventMap>(type: K, listener: (event: HTMLElementEventMap[K]) => void) =>
      this.#surface.addEventListener(type, listener, { signal, passive: false })
    on('pointerdown', (event) => this.#down(event))
    on('pointermove', (event) => this.#move(event))
    on('pointerup', (event) => this.#up(event))
    on('pointercancel', (event) => this.#lost(event))
    on('pointerleave', (event) => event.pointerType !== 'touch' && this.#handlers.pointed(null))
    on('wheel', (event) => this.#wheel(event))
    on('contextmenu', (event) => event.preventDefault())
    // Safari tells of trackpad pinches with events of its own.
    for (const type of ['gesturestart', 'gesturechange']) {
      this.#surface.addEventListener(type, (event) => this.#safariPinch(event as SafariGestureEvent), { signal })
    }
  }

  #down(event: PointerEvent): void {
    // Keeps text from being selected and the keyboard's focus from wandering into the canvas.
    event.preventDefault()
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur()
    if (event.pointerType === 'pen') this.#penSeen = true
    const at = this.#screen(event)
    if (event.pointerType === 'touch') {
      this.#fingers.set(event.pointerId, at)
      if (this.#fingers.size === 2) return this.#beginPinch()
      if (this.#fingers.size > 2 || this.#gesture) return
    }
    if (this.#gesture) return
    this.#surface.setPointerCapture(event.pointerId)
    this.#begin(event, at)
  }

  #begin(event: PointerEvent, at: Point): void {
    const tool = this.#toolFor(event)
    if (tool === 'none') return
    if (!tool) {
      this.#gesture = { kind: 'pan', pointer: event.pointerId, last: at }
      this.#surface.dataset['panning'] = ''
      return
    }
    this.#gesture = { kind: 'tool', pointer: event.pointerId, tool, finger: event.pointerType === 'touch' }
    this.#surface.dataset['drawing'] = ''
    tool.down(this.#sample(event))
  }

  #toolFor(event: PointerEvent): Tool | undefined | 'none' {
    if (event.buttons & MIDDLE || this.#spaceHeld) return undefined
    if (event.pointerType === 'pen' && event.buttons & PEN_ERASER) return this.#handlers.tool('eraser')
    if (event.pointerType === 'touch' && this.#penSeen) return undefined
    return event.button === 0 ? this.#handlers.tool('chosen') : 'none'
  }

  #move(event: PointerEvent): void {
    const at = this.#screen(event)
    if (event.pointerType === 'touch') this.#fingers.set(event.pointerId, at)
    this.#handlers.pointed(toBoard(this.#stage.view, at))
    const gesture = this.#gesture
    if (gesture?.kind === 'pinch') return this.#pinched(gesture)
    if (!gesture || gesture.pointer !== event.pointerId) return
    if (gesture.kind === 'tool') return gesture.tool.move(this.#samples(event), this.#predicted(event))
    this.#stage.look(panBy(this.#stage.view, at.x - gesture.last.x, at.y - gesture.last.y))
    gesture.last = at
  }

  #up(event: PointerEvent): void {
    const gesture = this.#gesture
    if (gesture?.kind === 'tool' && gesture.pointer === event.pointerId) {
      gesture.tool.up(this.#sample(event))
      this.#end()
    }
    this.#letGo(event)
  }

  #lost(event: PointerEvent): void {
    const gesture = this.#gesture
    if (gesture?.kind === 'tool' && gesture.pointer === event.pointerId) this.cancel()
    this.#letGo(event)
  }

  #letGo(event: PointerEvent): void {
    this.#fingers.delete(event.pointerId)
    if (event.pointerType === 'touch') this.#handlers.pointed(null)
    const gesture = this.#gesture
    const ended =
      gesture?.kind === 'pinch' ? gesture.pointers.includes(event.pointerId) : gesture?.pointer === event.pointerId
    if (ended) this.#end()
  }

  #end(): void {
    this.#gesture = undefined
    delete this.#surface.dataset['panning']
    delete this.#surface.dataset['drawing']
  }

  /** A second finger: whatever the first one began was the beginning of a pinch. */
  #beginPinch(): void {
    if (this.#gesture?.kind === 'tool' && !this.#gesture.finger) return
    this.cancel()
    const [first, second] = [...this.#fingers]
    if (!first || !second) return
    this.#gesture = { kind: 'pinch', pointers: [first[0], second[0]], last: [first[1], second[1]] }
  }

  #pinched(gesture: Gesture & { kind: 'pinch' }): void {
    const [a, b] = gesture.pointers.map((pointer) => this.#fingers.get(pointer))
    if (!a || !b) return
    this.#stage.look(pinch(this.#stage.view, gesture.last, [a, b]))
    gesture.last = [a, b]
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault()
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1
    const dx = event.deltaX * pixels
    const dy = event.deltaY * pixels
    const { view } = this.#stage
    if (event.ctrlKey || event.metaKey) {
      // A mouse's wheel comes in steps of a hundred, a trackpad's pinch in ones and twos: neither may leap.
      const step = Math.max(-40, Math.min(40, dy))
      return this.#stage.look(zoomAt(view, this.#screen(event), view.zoom * Math.exp(-step * 0.008)))
    }
    this.#stage.look(event.shiftKey && dx === 0 ? panBy(view, -dy, 0) : panBy(view, -dx, -dy))
  }

  #safariPinch(event: SafariGestureEvent): void {
    event.preventDefault()
    if (event.type === 'gesturestart') this.#pinchZoom = this.#stage.view.zoom
    else this.#stage.look(zoomAt(this.#stage.view, this.#screen(event), this.#pinchZoom * event.scale))
  }

  #samples(event: PointerEvent): Sample[] {
    const coalesced = event.getCoalescedEvents?.() ?? []
    return (coalesced.length > 0 ? coalesced : [event]).map((each) => this.#sample(each))
  }

  #predicted(event: PointerEvent): Sample[] {
    return (event.getPredictedEvents?.() ?? []).slice(0, 2).map((each) => this.#sample(each))
  }

  #sample(event: PointerEvent): Sample {
    const at = toBoard(this.#stage.view, this.#screen(event))
    // Mice and most fingers report no pressure, or a constant half.
    const pressure = event.pointerType === 'pen' && event.pressure > 0 ? event.pressure : undefined
    return { x: at.x, y: at.y, pressure, time: event.timeStamp }
  }

  #screen(event: { clientX: number; clientY: number }): Point {
    const box = this.#surface.getBoundingClientRect()
    return { x: event.clientX - box.left, y: event.clientY - box.top }
  }
}

interface SafariGestureEvent extends Event {
  readonly scale: number
  readonly clientX: number
  readonly clientY: number
}
