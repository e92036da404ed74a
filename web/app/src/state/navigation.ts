/** Which page is shown. A route is read from the address; going somewhere writes it. */

import { signal } from '@preact/signals'
import { type Route, routeOf } from './route'

export const route = signal<Route>(routeOf(location))

const follow = () => (route.value = routeOf(location))
addEventListener('popstate', follow)
addEventListener('hashchange', follow)

export function go(path: string): void {
  history.pushState(null, '', path)
  follow()
}

/** Changes the address without going anywhere. */
export function readdress(path: string): void {
  history.replaceState(null, '', path)
}
