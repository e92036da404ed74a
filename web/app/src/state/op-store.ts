/**
 * Where unsaved changes wait: in the browser's own database, so that even a closed tab does not lose them. Pages without
 * TLS have no such database to share between tabs; there the changes wait in memory, and leaving the page warns.
 */

import { IndexedDbOpStore, type OpStore } from '@enfilade/client'

export const opStore: OpStore | undefined =
  'indexedDB' in globalThis && navigator.locks ? new IndexedDbOpStore() : undefined
