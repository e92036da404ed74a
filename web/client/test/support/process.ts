/** A program that a test starts, and ends by its id. */

import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'

const START_MS = 60_000
const STOP_MS = 15_000
const LOOK_MS = 25
const LOG_CHARACTERS = 8_000

export class Program {
  readonly #child: ChildProcess
  #log = ''

  constructor(
    readonly name: string,
    file: string,
    args: readonly string[],
    options: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'> = {},
  ) {
    const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    // A program that cannot be started ends with this, and no exit code.
    child.on('error', (error) => (this.#log += error.message))
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data: Buffer) => (this.#log = (this.#log + data.toString()).slice(-LOG_CHARACTERS)))
    }
    // A test that is broken off leaves nothing behind.
    const abandon = (): void => void child.kill('SIGKILL')
    process.once('exit', abandon)
    child.once('exit', () => process.off('exit', abandon))
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The end of what it wrote. */
  get log(): string {
    return this.#log
  }

  /** Sends a signal, and waits for the end; a program that does not hear it is killed. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.running) return
    const exit = once(this.#child, 'exit')
    this.#child.kill(signal)
    const tooLate = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await exit
    clearTimeout(tooLate)
  }

  /** Waits until the program has come so far. */
  async until(state: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    await until(`${this.name} is ${state}`, async () => {
      if (!this.running) throw new Error(`${this.name} has ended:\n${this.#log}`)
      return isSo()
    })
  }
}

/** Waits for something to be so. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + START_MS
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** A program by name: in one of the folders, or on the path. */
export function find(name: string, folders: readonly string[]): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter)
  return [...folders, ...onPath].map((folder) => join(folder, name)).find((file) => existsSync(file))
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
