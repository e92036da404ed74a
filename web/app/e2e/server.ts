/** A server for one test: the real binary on free ports, with a data folder that is gone afterwards. */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const BINARY =
  process.env['ENFILADE_BIN'] ?? fileURLToPath(new URL('../../../target/debug/enfilade', import.meta.url))

export const binaryExists = (): boolean => existsSync(BINARY)

const STARTS_WITHIN_MS = 20_000

export class Server {
  readonly origin: string
  readonly #arguments: readonly string[]
  readonly #data: string
  #process: ChildProcess | undefined
  #log = ''

  private constructor(port: number, adminPort: number, data: string) {
    this.origin = `http://127.0.0.1:${port}`
    this.#data = data
    const listen = ['--listen', `127.0.0.1:${port}`, '--admin-listen', `127.0.0.1:${adminPort}`]
    this.#arguments = ['serve', ...listen, '--data-dir', data]
  }

  static async start(): Promise<Server> {
    const data = mkdtempSync(join(tmpdir(), 'enfilade-e2e-'))
    const server = new Server(await freePort(), await freePort(), data)
    await server.resume()
    return server
  }

  /** Starts the process on the data that is there. */
  async resume(): Promise<void> {
    const running = spawn(BINARY, this.#arguments, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = running
    for (const stream of [running.stdout, running.stderr]) stream?.on('data', (text) => (this.#log += text))
    await this.#answers(running)
  }

  /** As a power cut would. */
  async kill(): Promise<void> {
    const running = this.#process
    this.#process = undefined
    if (!running || running.exitCode !== null || running.signalCode !== null) return
    const gone = new Promise((resolve) => running.once('exit', resolve))
    running.kill('SIGKILL')
    await gone
  }

  async close(): Promise<void> {
    await this.kill()
    rmSync(this.#data, { recursive: true, force: true })
  }

  async #answers(running: ChildProcess): Promise<void> {
    const deadline = Date.now() + STARTS_WITHIN_MS
    while (Date.now() < deadline) {
      if (running.exitCode !== null) break
      const answer = await fetch(this.origin).catch(() => undefined)
      if (answer?.ok) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`the server does not answer:\n${this.#log.slice(-4_000)}`)
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
