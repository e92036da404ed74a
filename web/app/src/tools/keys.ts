/** The keyboard: which keys mean what. Pure; the help shows the same table that the keys are read from. */

export type Command =
  | { readonly kind: 'tool'; readonly tool: 'pen' | 'eraser' | 'hand' }
  | { readonly kind: 'color'; readonly index: number }
  | { readonly kind: 'width'; readonly by: 1 | -1 }
  | {
      readonly kind: 'undo' | 'redo' | 'zoom-in' | 'zoom-out' | 'zoom-actual' | 'zoom-fit' | 'help' | 'share' | 'cancel'
    }

export interface KeyPress {
  readonly key: string
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly shiftKey: boolean
  readonly altKey: boolean
}

const PLAIN: Readonly<Record<string, Command>> = {
  p: { kind: 'tool', tool: 'pen' },
  e: { kind: 'tool', tool: 'eraser' },
  h: { kind: 'tool', tool: 'hand' },
  '[': { kind: 'width', by: -1 },
  ']': { kind: 'width', by: 1 },
  '+': { kind: 'zoom-in' },
  '=': { kind: 'zoom-in' },
  '-': { kind: 'zoom-out' },
  '0': { kind: 'zoom-actual' },
  f: { kind: 'zoom-fit' },
  s: { kind: 'share' },
  '?': { kind: 'help' },
  escape: { kind: 'cancel' },
}

export function commandFor(press: KeyPress): Command | undefined {
  if (press.altKey) return undefined
  const key = press.key.toLowerCase()
  if (press.ctrlKey || press.metaKey) return withControl(key, press.shiftKey)
  if (/^[1-8]$/.test(key)) return { kind: 'color', index: Number(key) - 1 }
  return PLAIN[key]
}

/** Zooming the page would leave the board as it is and make everything else unusable: these keys zoom the board. */
function withControl(key: string, shift: boolean): Command | undefined {
  if (key === 'z') return { kind: shift ? 'redo' : 'undo' }
  if (key === 'y' && !shift) return { kind: 'redo' }
  if (key === '+' || key === '=') return { kind: 'zoom-in' }
  if (key === '-') return { kind: 'zoom-out' }
  if (key === '0') return { kind: 'zoom-actual' }
  return undefined
}

/** What the help says, in this order. `mod` is ⌘ or Ctrl. */
export const SHORTCUTS: readonly (readonly [keys: readonly string[], meaning: string])[] = [
  [['P'], 'Pen'],
  [['E'], 'Eraser'],
  [['H'], 'Hand'],
  [['1 – 8'], 'Colours'],
  [['[', ']'], 'Thinner, thicker'],
  [['mod', 'Z'], 'Undo'],
  [['mod', 'Shift', 'Z'], 'Redo'],
  [['Space', 'drag'], 'Move the paper'],
  [['mod', 'wheel'], 'Zoom'],
  [['+', '−'], 'Zoom in, out'],
  [['0'], 'Actual size'],
  [['F'], 'Everything in sight'],
  [['S'], 'Share'],
  [['?'], 'This help'],
]
