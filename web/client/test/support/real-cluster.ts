/** Several real nodes on one PostgreSQL and one NATS, and doors by which people come in. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

import { type Engine, MISSING, startNats, startPostgres } from './engines.js'
import { until } from './process.js'
import { BINARY, BINARY_IS_THERE, RealServer } from './real-server.js'

/** Why there can be no cluster here; null if there can. */
export const NO_CLUSTER = !BINARY_IS_THERE
  ? `there is no server at ${BINARY}; build it, or set ENFILADE_BIN`
  : MISSING.length > 0
    ? `${MISSING.join(' and ')} missing; \`make servers\` provides what a cluster needs`
    : null

/** Over how long a node that is drained tells its people to move. */
const DRAIN_SECONDS = 2

export class RealCluster {
  readonly #doors: Door[] = []

  private constructor(
    readonly engines: readonly Engine[],
    readonly nodes: readonly RealServer[],
  ) {}

  static async start(size: number): Promise<RealCluster> {
    const [postgres, nats] = await Promise.all([startPostgres(), startNats()])
    const secrets = { ENFILADE_DATABASE_URL: postgres.url }
    // The moments at which people move are spread over those of one hub.
    const settings = ['--nats-url', nats.url, '--drain-seconds', `${DRAIN_SECONDS}`, '--hubs', '1']
    const named = (i: number): string[] => ['--node-name', `node-${i + 1}`, ...settings]
    const nodes: RealServer[] = []
    // One after the other: the first brings the database up to date.
    for (let i = 0; i < size; i++) nodes.push(await RealServer.start(named(i), secrets))
    await until('the nodes know each other', async () => {
      const known = await Promise.all(nodes.map((node) => node.neighbours()))
      return known.every((count) => count === size)
    })
    return new RealCluster([postgres, nats], nodes)
  }

  /** A way in to the first of these nodes that takes new connections. */
  async door(...nodes: RealServer[]): Promise<Door> {
    const door = await Door.open(nodes)
    this.#doors.push(door)
    return door
  }

  async stop(): Promise<void> {
    await Promise.all(this.#doors.map((door) => door.close()))
    // The last ones have nobody to hand over to.
    await Promise.all(this.nodes.map((node) => node.kill().then(() => node.stop())))
    await Promise.all(this.engines.map((engine) => engine.stop()))
  }
}

/** A load balancer of bytes: asks the nodes whether they are ready, in an order of its own. */
export class Door {
  readonly #sockets = new Set<Socket>()
  /** So many of the next ones are led to the first node unasked, as by a load balancer that has not noticed yet. */
  unasked = 0

  private constructor(
    readonly server: Server,
    readonly nodes: readonly RealServer[],
  ) {
    server.on('connection', (socket) => void this.#lead(socket))
  }

  static async open(nodes: readonly RealServer[]): Promise<Door> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Door(server, nodes)
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  get origin(): string {
    return `http://${this.host}`
  }

  get url(): string {
    return `ws://${this.host}/ws`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.server.close()
    await once(this.server, 'close')
  }

  async #lead(outside: Socket): Promise<void> {
    this.#keep(outside)
    for (const node of this.nodes) {
      if (this.unasked > 0) this.unasked--
      else if (!(await node.isReady())) continue
      const inside = connect(node.port, '127.0.0.1')
      this.#keep(inside)
      outside.pipe(inside).pipe(outside)
      for (const [one, other] of [[outside, inside], [inside, outside]] as const) {
        // What was said before a proper end arrives; a broken connection breaks here too.
        one.once('close', (failed) => (failed ? other.destroy() : other.end()))
      }
      return
    }
    outside.destroy()
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    // Whatever goes wrong, a close follows.
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }
}
