/**
 * Text on the board: its face, its line height, and where lines break. Measuring needs a browser and is handed in.
 */

export const FACE = '"Instrument Sans Variable", system-ui, sans-serif'
export const LINE_HEIGHT = 1.35
export const NOTE_SIZE = 18
export const NOTE_PADDING = 14

export type Measure = (text: string, size: number) => number

/** The lines of a text as its author broke them. */
export const linesOf = (text: string): string[] => text.split('\n')

/** Breaks text at spaces so that no line is wider than `width`; a word that is too long is broken where it must be. */
export function wrap(text: string, width: number, size: number, measure: Measure): string[] {
  return linesOf(text).flatMap((line) => wrapLine(line, width, size, measure))
}

function wrapLine(line: string, width: number, size: number, measure: Measure): string[] {
  const lines: string[] = []
  let current = ''
  for (const word of line.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`
    if (measure(longer, size) <= width) {
      current = longer
      continue
    }
    if (current !== '') lines.push(current)
    const pieces = breakWord(word, width, size, measure)
    lines.push(...pieces.slice(0, -1))
    current = pieces.at(-1) ?? ''
  }
  return [...lines, current]
}

function breakWord(word: string, width: number, size: number, measure: Measure): string[] {
  const pieces: string[] = []
  let piece = ''
  for (const letter of word) {
    if (piece !== '' && measure(piece + letter, size) > width) {
      pieces.push(piece)
      piece = letter
    } else {
      piece += letter
    }
  }
  return [...pieces, piece]
}
