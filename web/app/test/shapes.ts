/** Shapes for the tests, made as the board makes them. */

import type { Element } from '@enfilade/client'
import type { Shape } from '../src/canvas/shape'
import { shapeOf } from '../src/canvas/shape-of'

/** As if every letter were half as wide as it is high. */
export const measure = (text: string, size: number): number => [...text].length * size * 0.5

export const shape = (element: Element): Shape => shapeOf(element, measure)

const standing = { author: '00000000-0000-4000-8000-000000000001', z: 1 }

export const stroke = (
  id: string,
  points: number[],
  more: { width?: number; z?: number; color?: string; pressure?: number[]; offset?: [number, number] } = {},
): Shape =>
  shape({
    ...standing,
    type: 'stroke',
    element: id,
    color: more.color ?? '#1b2421',
    width: more.width ?? 4,
    points: Float32Array.from(points),
    z: more.z ?? 1,
    ...(more.pressure && { pressure: Uint8Array.from(more.pressure) }),
    ...(more.offset && { offset: more.offset }),
  })

export const box = (type: 'rectangle' | 'ellipse', bounds: [number, number, number, number], fill?: string): Shape =>
  shape({ ...standing, type, element: type, color: '#c73a42', width: 4, bounds, ...(fill && { fill }) })

export const line = (type: 'line' | 'arrow', from: [number, number], to: [number, number]): Shape =>
  shape({ ...standing, type, element: type, color: '#2a72c8', width: 4, from, to })

export const text = (words: string): Shape =>
  shape({ ...standing, type: 'text', element: 'text', color: '#1b2421', size: 20, from: [0, 0], text: words })

export const note = (words: string): Shape =>
  shape({ ...standing, type: 'note', element: 'note', color: '#f6d98b', bounds: [0, 0, 128, 128], text: words })
