/** The real server, as a process of its own on free ports with a folder of its own. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const client = fileURLToPath(new URL('../..', import.meta.url))

/** The program under test. */
export const BINARY = resolve(client, process.env.ENFILADE_BIN ?? '../../target/debug/enfilade')
export const BINARY_IS_THERE = existsSync(BINARY)

const START_MS = 30_000
const STOP_MS = 15_000

export class RealServer {
  #process: ChildProcess | null = null
  #log = ''

  private constructor(
    readonly port: number,
    readonly adminPort: number,
    readonly folder: string,
  ) {}

  static async start(): Promise<RealServer> {
    const [port, adminPort] = await Promise.all([freePort(), freePort()])
    const folder = await mkdtemp(join(tmpdir(), 'enfilade-client-'))
    const server = new RealServer(port, adminPort, folder)
    await server.run()
    return server
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`
  }

  /** Starts the process, again after `kill`, on the same ports and folder. */
  async run(): Promise<void> {
    const listen = ['--listen', `127.0.0.1:${this.port}`, '--admin-listen', `127.0.0.1:${this.adminPort}`]
    const child = spawn(BINARY, ['serve', ...listen, '--data-dir', this.folder], {
      env: { ...process.env, ENFILADE_LOG: 'warn' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => (this.#log = (this.#log + data.toString()).slice(-8_000)))
    }
    await this.#untilAlive(child)
  }

  /** Without a chance to say goodbye. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
    await rm(this.folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    this.#process = null
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    const tooLate = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exit
    clearTimeout(tooLate)
  }

  async #untilAlive(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_MS
    while (Date.now() < deadline && child.exitCode === null) {
      const alive = await fetch(`http://127.0.0.1:${this.adminPort}/livez`).then(({ ok }) => ok, () => false)
      if (alive) return
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error(`the server did not start (exit code ${child.exitCode}):\n${this.#log}`)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** `fetch` with the cookies that a browser would keep. */
export function fetchWithCookies(): typeof fetch {
  let cookie = ''
  return async (url, init) => {
    const headers = new Headers(init?.headers)
    if (cookie) headers.set('Cookie', cookie)
    const response = await fetch(url, { ...init, headers })
    for (const set of response.headers.getSetCookie()) cookie = set.split(';')[0]!
    return response
  }
}
