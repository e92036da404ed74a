/**
 * Colours on paper. An op stores the colour as it looks on light paper; on dark paper each is shown as its counterpart,
 * so that what was drawn in black by day is readable by night. The palette's pairs are chosen by eye, any other colour
 * is mapped by lightness.
 */

export type Theme = 'light' | 'dark'

export interface Ink {
  readonly name: string
  readonly light: string
  readonly dark: string
}

export const PALETTE: readonly Ink[] = [
  { name: 'Ink', light: '#1b2421', dark: '#ebefe9' },
  { name: 'Graphite', light: '#74827f', dark: '#98a8a4' },
  { name: 'Madder', light: '#c73a42', dark: '#f17f7f' },
  { name: 'Persimmon', light: '#dc7127', dark: '#f59f62' },
  { name: 'Ochre', light: '#d8a316', dark: '#f0cb61' },
  { name: 'Viridian', light: '#1d8a5e', dark: '#5fcb99' },
  { name: 'Cerulean', light: '#2a72c8', dark: '#7ab2f5' },
  { name: 'Plum', light: '#7d4cb2', dark: '#bc9aee' },
]

export const PAPER: Readonly<Record<Theme, string>> = { light: '#fbfbf8', dark: '#161b1a' }

const PAIRS = new Map(PALETTE.map((ink) => [ink.light, ink.dark]))
const mapped = new Map<string, string>()
/** Colours come from other people: the memory of mapped ones is bounded. */
const MAPPED_MAX = 4096

/** How a stored colour is shown under a theme. */
export function shown(color: string, theme: Theme): string {
  if (theme === 'light') return color
  const key = color.toLowerCase()
  const pair = PAIRS.get(key) ?? mapped.get(key)
  if (pair) return pair
  if (mapped.size >= MAPPED_MAX) mapped.clear()
  const dark = forDarkPaper(key)
  mapped.set(key, dark)
  return dark
}

/** The paper of a note: by night a little dimmer, never inverted. */
export function noteSurface(color: string, theme: Theme): string {
  if (theme === 'light') return color
  const [l, a, b, alpha] = toOklab(color)
  return fromOklab(l * 0.82, a * 0.9, b * 0.9, alpha)
}

/** Ink that can be read on a note of this colour. */
export function noteInk(color: string): string {
  return toOklab(color)[0] > 0.6 ? '#1b2421' : '#fbfbf8'
}

/** Is there nothing to fill? `#00000000` is the protocol's word for it, as is any fill of no opacity. */
export function isClear(fill: string | undefined): boolean {
  return !fill || (fill.length === 9 && fill.endsWith('00'))
}

/** Greys are turned over (black becomes white); colours keep their hue and are only lifted out of the dark. */
function forDarkPaper(color: string): string {
  const [l, a, b, alpha] = toOklab(color)
  const colorful = Math.min(1, Math.hypot(a, b) / 0.08)
  const turned = 0.95 - 0.72 * l
  const lifted = Math.max(l, 0.66 + 0.2 * (l - 0.5))
  return fromOklab(turned + (lifted - turned) * colorful, a, b, alpha)
}

type Oklab = readonly [lightness: number, a: number, b: number, alpha: string]

function toOklab(color: string): Oklab {
  const channel = (at: number) => linear(Number.parseInt(color.slice(at, at + 2), 16) / 255)
  const [r, g, b] = [channel(1), channel(3), channel(5)]
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    color.slice(7, 9),
  ]
}

function fromOklab(lightness: number, a: number, b: number, alpha: string): string {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ]
  return `#${channels.map(hex).join('')}${alpha}`
}

const linear = (value: number): number => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)

function hex(channel: number): string {
  const gamma = channel <= 0.0031308 ? channel * 12.92 : 1.055 * channel ** (1 / 2.4) - 0.055
  return Math.round(Math.min(1, Math.max(0, gamma)) * 255)
    .toString(16)
    .padStart(2, '0')
}
