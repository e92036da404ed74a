/** Which link opens a board best, and making new boards. */

import { api, session } from './account'
import { bestLink } from './best-link'
import { readdress } from './navigation'
import { forgetLink, remember, rememberedBoard } from './remembered'
import { boardAddress, knownLinks, rememberLink } from './shared-links'

/** A link that this browser remembered opens nothing any more; without it there may be another way in. */
export function forgetStaleLink(room: string, refused: string | undefined, fromAddress: string | undefined): boolean {
  if (!refused || refused === fromAddress) return false
  forgetLink(room)
  return true
}

export const linkFor = (room: string, fromAddress: string | undefined): string | undefined =>
  bestLink(fromAddress, rememberedBoard(room))

/**
 * A new board; answers with its address. A guest's board is owned through a secret that stays in this browser, and its
 * address carries a link to draw: what people copy from the address bar is then what they mean to share.
 */
export async function newBoard(): Promise<string> {
  const room = await api.createRoom({ kind: 'board' })
  remember({ id: room.id, title: room.title, role: room.role, ...(room.link && { link: room.link }) })
  if (session.value || !room.link) return boardAddress(room.id)
  try {
    const editors = await api.createLink(room.id, 'editor', room.link)
    rememberLink(room.id, editors)
    return boardAddress(room.id, editors.link)
  } catch {
    // The board is there and works; sharing will ask for a link again.
    return boardAddress(room.id)
  }
}

/** After a revocation the address may carry a link that opens nothing any more. */
export function dropStaleAddress(room: string): void {
  const secret = location.hash.slice(1)
  if (secret && ![...knownLinks(room).values()].includes(secret)) readdress(boardAddress(room))
}
