/** How the page is built and served while one works on it. */

import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** A running server, for `npm run dev`. */
const server = process.env['ENFILADE_SERVER'] ?? 'http://127.0.0.1:8080'

export default defineConfig({
  resolve: {
    // The SDK's sources, so that it need not be built first.
    alias: { '@enfilade/client': fileURLToPath(new URL('../client/src/index.ts', import.meta.url)) },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2023',
    // Data URLs would need exceptions in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      '/api': server,
      '/ws': { target: server, ws: true },
    },
  },
})
