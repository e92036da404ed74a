/** The client over real sockets and the system's clock, against the server that lives in memory. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'

import { Board } from '../src/board.js'
import { Client, type ClientOptions } from '../src/client.js'
import { type CodecName, codecNamed } from '../src/codec.js'
import type { SocketConstructor } from '../src/connection.js'
import { ROOM, stroke } from './support/arrange.js'
import { FakeServer } from './support/fake-server.js'

async function listen(): Promise<{ server: FakeServer; url: string; drop: () => void }> {
  const server = new FakeServer()
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  sockets.on('connection', (socket) => {
    const codec = codecNamed(socket.protocol === 'enfilade.v1.json' ? 'json' : 'msgpack')
    const wire = {
      deliver: (frame: string | Uint8Array) => socket.send(frame),
      close: (code: number, reason: string) => socket.close(code, reason),
    }
    const connection = server.accept(wire, codec)
    socket.on('message', (data: Buffer, binary) => connection.take(binary ? Uint8Array.from(data) : data.toString()))
    socket.on('close', () => connection.gone())
  })
  await once(sockets, 'listening')
  const drop = (): void => sockets.clients.forEach((socket) => socket.terminate())
  onTestFinished(() => {
    drop()
    sockets.close()
  })
  return { server, url: `ws://127.0.0.1:${(sockets.address() as AddressInfo).port}/ws`, drop }
}

function connect(url: string, options: Partial<ClientOptions> = {}): Client {
  const credentials = (): { guest: { name: string } } => ({ guest: { name: 'Ada' } })
  const client = new Client({ url, credentials, WebSocket: WebSocket as unknown as SocketConstructor, ...options })
  onTestFinished(() => client.close())
  return client
}

describe.each<CodecName>(['msgpack', 'json'])('over a socket, in %s', (codec) => {
  test('two people draw on one board, through a lost connection', async () => {
    const { server, url, drop } = await listen()
    const [ada, bob] = [1, 2].map(() => new Board(connect(url, { codec }).join(ROOM)))
    await ada!.submit(stroke('a'))
    await expect.poll(() => bob!.view('a')).toEqual(ada!.view('a'))
    drop()
    const results = Promise.all([ada!.submit(stroke('b')), bob!.submit(stroke('c'))])
    await expect(results).resolves.toHaveLength(2)
    for (const board of [ada!, bob!]) {
      await expect.poll(() => board.elements()).toEqual(server.elements(ROOM).sort((a, b) => a.z - b.z))
    }
    expect(server.connections[0]!.codec.name).toBe(codec)
  })
})

test('nobody listens: the client is offline, and goes on trying until it is closed', async () => {
  const client = connect('ws://127.0.0.1:9/ws')
  await expect.poll(() => client.status).toBe('offline')
  client.close()
  expect(client.closeReason).toEqual({ code: 1000, reason: 'closed by the application' })
})
