/** The engines of a cluster, as processes of their own on free ports: PostgreSQL and NATS. */

import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { find, freePort, Program } from './process.js'

const run = promisify(execFile)

/** Where `make` puts programs. */
const TOOLS = fileURLToPath(new URL('../../../../.tools/python/bin', import.meta.url))
const NATS_SERVER = process.env['NATS_SERVER'] ?? find('nats-server', [TOOLS])
const POSTGRES = postgresFolder()

/** What is not installed. */
export const MISSING: readonly string[] = [
  ...(POSTGRES ? [] : ['PostgreSQL']),
  ...(NATS_SERVER && existsSync(NATS_SERVER) ? [] : ['nats-server']),
]

/** An engine that runs. */
export interface Engine {
  readonly url: string
  stop(): Promise<void>
}

export async function startNats(): Promise<Engine> {
  const port = await freePort()
  const program = new Program('nats-server', NATS_SERVER!, ['--addr', '127.0.0.1', '--port', `${port}`])
  await program.until('listening', () => answers(port))
  return { url: `nats://127.0.0.1:${port}`, stop: () => program.end('SIGTERM') }
}

/** A server with one empty database. It does not wait for the disk. */
export async function startPostgres(): Promise<Engine> {
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'enfilade-postgres-'))
  const account = postgresAccount()
  if (account) await chown(folder, account.uid, account.gid)
  await chmod(folder, 0o700)
  const data = join(folder, 'data')
  const options = { cwd: folder, ...account }
  const format = ['--username', 'enfilade', '--auth', 'trust', '--encoding', 'UTF8', '--no-locale', '--no-sync']
  await run(join(POSTGRES!, 'initdb'), [...format, '--pgdata', data], options)
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: folder,
    fsync: 'off',
    shared_buffers: '64MB',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const program = new Program('PostgreSQL', join(POSTGRES!, 'postgres'), ['-D', data, ...args], options)
  // The eighth line says so.
  const status = async (): Promise<string | undefined> => (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[7]
  await program.until('ready', () => status().then((status) => status?.trim() === 'ready', () => false))
  const stop = async (): Promise<void> => {
    await program.end('SIGQUIT')
    await rm(folder, { recursive: true, force: true })
  }
  return { url: `postgres://enfilade@127.0.0.1:${port}/postgres`, stop }
}

/** The folder of PostgreSQL's programs: that of the `postgres` on the path, or the newest of Debian's. */
function postgresFolder(): string | undefined {
  const onPath = find('postgres', [])
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [...(onPath ? [dirname(realpathSync(onPath))] : []), ...versions.map((version) => join(debian, version, 'bin'))]
  return folders.find((folder) => ['postgres', 'initdb'].every((name) => existsSync(join(folder, name))))
}

/** PostgreSQL refuses to run as root, and gets an account of its own then. */
function postgresAccount(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (option: string): number => Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
