/** The real server, as a process of its own on free ports with a folder of its own. */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { freePort, Program } from './process.js'

const client = fileURLToPath(new URL('../..', import.meta.url))

/** The program under test. */
export const BINARY = resolve(client, process.env['ENFILADE_BIN'] ?? '../../target/debug/enfilade')
export const BINARY_IS_THERE = existsSync(BINARY)

export class RealServer {
  #program: Program | null = null

  private constructor(
    readonly port: number,
    readonly adminPort: number,
    readonly folder: string,
    readonly settings: readonly string[],
    readonly secrets: Readonly<Record<string, string>>,
  ) {}

  /** `settings` are further arguments of `enfilade serve`, `secrets` such as are not said in arguments. */
  static async start(settings: readonly string[] = [], secrets: Readonly<Record<string, string>> = {}): Promise<RealServer> {
    const [port, adminPort] = await Promise.all([freePort(), freePort()])
    const folder = await mkdtemp(join(tmpdir(), 'enfilade-client-'))
    const server = new RealServer(port, adminPort, folder, settings, secrets)
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
    const args = ['serve', ...listen, '--data-dir', this.folder, ...this.settings]
    const program = new Program('the server', BINARY, args, { env: { ...process.env, ...this.secrets, ENFILADE_LOG: 'warn' } })
    this.#program = program
    await program.until('ready', () => this.isReady())
  }

  /** Whether new connections are welcome: what a load balancer asks. */
  async isReady(): Promise<boolean> {
    return this.#program !== null && fetch(this.#admin('/readyz')).then(({ ok }) => ok, () => false)
  }

  /** How many nodes of its cluster it knows to be alive, itself included. */
  async neighbours(): Promise<number> {
    const { nodes } = (await (await fetch(this.#admin('/admin/cluster'))).json()) as { nodes: { state: string }[] }
    return nodes.filter(({ state }) => state === 'alive').length
  }

  /** Whether the room lives here. */
  async hosts(room: string): Promise<boolean> {
    return fetch(this.#admin(`/admin/rooms/${room}`)).then(({ ok }) => ok)
  }

  /** As an operator does it; the process goes on. */
  async drain(): Promise<void> {
    const { status } = await fetch(this.#admin('/admin/drain'), { method: 'POST' })
    if (status !== 202) throw new Error(`the drain was answered with ${status}`)
  }

  /** Without a chance to say goodbye. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async terminate(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async stop(): Promise<void> {
    await this.terminate()
    await rm(this.folder, { recursive: true, force: true })
  }

  #admin(path: string): string {
    return `http://127.0.0.1:${this.adminPort}${path}`
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const program = this.#program
    this.#program = null
    await program?.end(signal)
  }
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
