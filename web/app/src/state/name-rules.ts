/** What may be a name, and names for those who have none yet. Pure. */

/** The protocol's bound. */
export const NAME_MAX = 64

const MANNERS = ['Quiet', 'Early', 'Nimble', 'Amber', 'Gentle', 'Bright', 'Wandering', 'Patient', 'Merry', 'Clever']
const VISITORS = [
  'Heron',
  'Otter',
  'Finch',
  'Badger',
  'Lynx',
  'Marten',
  'Swift',
  'Hare',
  'Magpie',
  'Newt',
  'Fox',
  'Wren',
]

export function friendlyName(random: () => number = Math.random): string {
  const pick = (words: readonly string[]) => words[Math.floor(random() * words.length)] ?? 'Guest'
  return `${pick(MANNERS)} ${pick(VISITORS)}`
}

/**
 * A name as the server takes it: 1 to 64 characters, none of them invisible (but for the joiner that emoji are built
 * with); undefined if nothing is left.
 */
export function tidyName(text: string): string | undefined {
  const visible = text
    .replace(/[^\P{C}\u200d]|[\u2028\u2029]/gu, '')
    .replace(/\s+/g, ' ')
    .trim()
  return visible === '' ? undefined : [...visible].slice(0, NAME_MAX).join('').trim()
}
