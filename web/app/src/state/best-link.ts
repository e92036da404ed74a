/** Which of several links to come in through. Pure. */

import type { RememberedBoard } from './visits'

/** What one owns through a link is entered as its owner; otherwise the link in the address says what one may do. */
export function bestLink(fromAddress: string | undefined, known: RememberedBoard | undefined): string | undefined {
  if (known?.role === 'owner' && known.link) return known.link
  return fromAddress ?? known?.link
}
