/** How people look: a colour each, the same for everybody who sees them, and initials. */

/** Distinct from each other on light and on dark paper, with white letters on them. */
export const PERSON_COLORS = [
  '#b5423f',
  '#1c7c58',
  '#2a6bb5',
  '#8a5a12',
  '#7a4bab',
  '#0f7785',
  '#b04a80',
  '#5f6f1c',
  '#4a5fb8',
  '#a8532a',
] as const

export function colorOf(personId: string): string {
  let hash = 2166136261
  for (let i = 0; i < personId.length; i += 1) hash = Math.imul(hash ^ personId.charCodeAt(i), 16777619)
  // The low bits of this hash alone are weak: fold the high ones in.
  const index = ((hash >>> 16) ^ hash) >>> 0
  return PERSON_COLORS[index % PERSON_COLORS.length] as string
}

/** One or two letters: of the first and the last word. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words.slice(0, 1)
  return letters.map((word) => [...(word ?? '')][0]?.toUpperCase() ?? '').join('') || '?'
}
