/** Changes that are not on the server yet, over all boards this page has open: leaving it would put them at risk. */

interface Unsaved {
  readonly unsaved: number
}

const open = new Set<Unsaved>()

export const watchUnsaved = (session: Unsaved): void => void open.add(session)
export const unwatchUnsaved = (session: Unsaved): void => void open.delete(session)

/** Asks before the page goes while something is on its way. */
export function warnOfUnsaved(): void {
  addEventListener('beforeunload', (event) => {
    if ([...open].some(({ unsaved }) => unsaved > 0)) event.preventDefault()
  })
}
