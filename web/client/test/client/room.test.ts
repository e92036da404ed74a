import { describe, expect, test } from 'vitest'

import type { LoggedOp } from '../../src/types.js'
import { ROOM, history, rectangle, scene, stroke } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'
import { SOMEBODY, SOMEBODYS_CLIENT } from '../support/fake-server.js'

const logged = (element: string, op_id: number): Omit<LoggedOp, 'at'> => ({
  author: SOMEBODY,
  client: SOMEBODYS_CLIENT,
  op_id,
  op: rectangle(element),
})

describe('a room', () => {
  test('hands on every op once and in order, whatever comes twice', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    server.last.tellOps(server.room(ROOM), 2)
    server.last.tellOps(server.room(ROOM), 1)
    server.last.send({ type: 'ops', data: { room: ROOM, epoch: 3, first_seq: 1, ops: server.room(ROOM).log.slice(0, 1) } })
    await settled()
    expect(room.position?.seq).toBe(3)
    server.somebody(ROOM, rectangle('d'))
    await settled()
    expect([...seen]).toEqual([[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']])
    expect(server.last.ofType('join')).toHaveLength(1)
  })

  test('a gap makes it ask for what it missed', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    server.room(ROOM).log.push({ ...logged('a', 1), at: 0 })
    server.somebody(ROOM, rectangle('b'))
    await settled()
    expect(server.last.ofType('join')[1]).toEqual({ room: ROOM, since: { epoch: 3, seq: 0 } })
    expect([...seen]).toEqual([[1, 'a'], [2, 'b']])
  })

  test('the heads of a ping show a loss', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const seen = history(room)
    await settled()
    server.room(ROOM).log.push({ ...logged('a', 1), at: 0 })
    server.last.ping()
    server.last.ping()
    await settled()
    expect([...seen]).toEqual([[1, 'a']])
    expect(server.last.ofType('join')).toHaveLength(2)
    server.last.ping()
    await settled()
    expect(server.last.ofType('join')).toHaveLength(2)
  })

  test('a reset starts over', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const events: string[] = []
    room.on('reset', ({ snapshot }) => events.push(`reset ${snapshot?.seq}`))
    room.on('ops', ({ firstSeq, ops }) => events.push(`ops ${firstSeq} ${ops.length}`))
    await settled()
    const log = Array.from({ length: 9 }, (_, i) => ({ ...logged(`e${i}`, i + 1), at: 0 }))
    server.room(ROOM).log.push(...log)
    server.last.send({
      type: 'reset',
      data: { room: ROOM, position: { epoch: 4, seq: 9 }, snapshot: { seq: 6, elements: [] }, ops: log.slice(6) },
    })
    await settled()
    expect(events).toEqual(['reset 0', 'reset 6', 'ops 7 3'])
    expect(room.position).toEqual({ epoch: 4, seq: 9 })
  })

  test('a server that knows less than the client is asked for the whole room', async () => {
    const { server, clock, connect, errors } = scene()
    for (const name of ['a', 'b', 'c']) server.somebody(ROOM, rectangle(name))
    // A server that does not even notice.
    server.intercept = (connection, message) => {
      if (message.type !== 'join' || !message.data.since) return false
      const position = { epoch: 3, seq: 1 }
      const presence = { count: 0, members: [] }
      const data = { room: ROOM, kind: 'board', title: 'Sketches', role: 'editor', position, presence }
      connection.reply(message.id, { type: 'joined', data } as never)
      return true
    }
    const room = connect().join(ROOM)
    const resets: number[] = []
    room.on('reset', ({ snapshot }) => resets.push(snapshot!.seq))
    await settled()
    server.room(ROOM).log.length = 1
    server.last.close(4000)
    await clock.advance(1_000)
    expect(room.position).toEqual({ epoch: 3, seq: 1 })
    expect(resets).toEqual([1, 0])
    expect(errors).toEqual([])
  })

  test('takes up from a cache', async () => {
    const { server, connect } = scene()
    for (const name of ['a', 'b']) server.somebody(ROOM, rectangle(name))
    const position = { epoch: 3, seq: 1 }
    const room = connect().join(ROOM, { cached: { position, snapshot: { seq: 1, elements: [] } } })
    const seen = history(room)
    await settled()
    expect(server.last.ofType('join')).toEqual([{ room: ROOM, since: position }])
    expect([...seen]).toEqual([[2, 'b']])
  })

  test('presence follows who comes and goes', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    const bob = { id: SOMEBODY, name: 'Bob', role: 'viewer' as const }
    server.last.send({ type: 'presence', data: { room: ROOM, count: 2, joined: [bob] } })
    await settled()
    expect(room.presence.count).toBe(2)
    expect(room.presence.members.get(SOMEBODY)).toEqual(bob)
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, left: [SOMEBODY] } })
    await settled()
    expect([...room.presence.members.values()].map(({ name }) => name)).toEqual(['Ada'])
    server.last.send({ type: 'presence', data: { room: ROOM, count: 1, members: [bob] } })
    await settled()
    expect([...room.presence.members.values()]).toEqual([bob])
  })

  test('a refused join rejects what waits, and a better link opens the door', async () => {
    const { server, connect } = scene()
    server.intercept = (connection, message) => {
      if (message.type !== 'join' || message.data.link === 'good') return false
      connection.refuse(message.id, 'link_invalid')
      return true
    }
    const client = connect()
    const room = client.join(ROOM, { link: 'bad' })
    const waiting = room.submit(stroke('a'))
    await expect(waiting).rejects.toMatchObject({ code: 'link_invalid' })
    expect([room.state, room.refusal?.code, room.unanswered]).toEqual(['refused', 'link_invalid', 0])
    await expect(room.submit(stroke('b'))).rejects.toMatchObject({ code: 'link_invalid' })
    client.join(ROOM, { link: 'good' })
    await settled()
    expect([room.state, room.refusal]).toEqual(['joined', null])
    await expect(room.submit(stroke('c'))).resolves.toBe(1)
  })

  test('a join that is to be tried later is tried later', async () => {
    const { server, clock, connect } = scene()
    let joins = 0
    server.intercept = (connection, { type, id }) => {
      if (type !== 'join' || joins++ > 0) return false
      connection.refuse(id, 'room_unavailable', 2_000)
      return true
    }
    const room = connect().join(ROOM)
    await clock.advance(1_999)
    expect(room.state).toBe('joining')
    await clock.advance(1)
    expect(room.state).toBe('joined')
  })

  test('leaves once the last op is answered', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    const room = client.join(ROOM)
    await settled()
    server.last.deaf = true
    const saved = room.submit(stroke('a'))
    room.leave()
    await settled()
    expect(room.state).toBe('left')
    await expect(room.submit(stroke('b'))).rejects.toMatchObject({ code: 'closed' })
    server.last.close(4000)
    await clock.advance(1_000)
    await expect(saved).resolves.toBe(1)
    await settled()
    expect(server.last.ofType('leave')).toEqual([{ room: ROOM }])
    expect(server.last.joined.size).toBe(0)
    expect(client.join(ROOM)).not.toBe(room)
  })

  test('follows its title', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    const titles: string[] = []
    room.on('renamed', (title) => titles.push(title))
    await settled()
    server.last.send({ type: 'renamed', data: { room: ROOM, title: 'Plans' } })
    await settled()
    expect([room.title, titles]).toEqual(['Plans', ['Sketches', 'Plans']])
  })

  test('tells what was read', async () => {
    const { server, connect } = scene()
    const room = connect().join(ROOM)
    await settled()
    room.read(7)
    await settled()
    expect(server.last.ofType('read')).toEqual([{ room: ROOM, seq: 7 }])
  })
})
