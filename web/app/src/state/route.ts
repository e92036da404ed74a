/** What an address means. Pure. */

export type Route =
  | { readonly page: 'landing' }
  | { readonly page: 'board'; readonly room: string; readonly link: string | undefined; readonly watch: boolean }
  | { readonly page: 'nowhere' }

const BOARD = /^\/b\/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\/?$/i

export function routeOf({ pathname, hash, search = '' }: { pathname: string; hash: string; search?: string }): Route {
  if (pathname === '/') return { page: 'landing' }
  const room = BOARD.exec(pathname)?.[1]?.toLowerCase()
  if (!room) return { page: 'nowhere' }
  const watch = new URLSearchParams(search).has('watch')
  return { page: 'board', room, link: hash.length > 1 ? decoded(hash.slice(1)) : undefined, watch }
}

/** Messengers like to escape what needs no escaping. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
