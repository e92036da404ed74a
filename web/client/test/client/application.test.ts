import { describe, expect, test } from 'vitest'

import { scene } from '../support/arrange.js'
import { settled } from '../support/fake-clock.js'

describe('an application\'s mistakes', () => {
  test('are told at once', () => {
    const { connect } = scene()
    expect(() => connect({ url: 'nowhere' })).toThrow(TypeError)
  })

  test('a listener that throws harms nobody else', async () => {
    const { connect } = scene()
    const uncaught: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => uncaught.push(error))
    try {
      const client = connect()
      const heard: string[] = []
      client.on('status', () => {
        throw new Error('oh')
      })
      const off = client.on('status', (status) => heard.push(status))
      await settled()
      off()
      client.close()
      expect(heard).toEqual(['online'])
      await settled()
      expect(uncaught).toHaveLength(2)
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })
})

describe('activity', () => {
  test('is told when it changes, and again on a new connection', async () => {
    const { server, clock, connect } = scene()
    const client = connect()
    await settled()
    client.setActive(true)
    client.setActive(false)
    client.setActive(false)
    await settled()
    expect(server.last.ofType('activity')).toEqual([{ active: false }])

    const first = server.last
    first.close(4100, 'drained')
    await settled()
    await clock.advance(60_000)
    expect(server.last).not.toBe(first)
    expect(server.last.ofType('activity')).toEqual([{ active: false }])
    client.setActive(true)
    await settled()
    expect(server.last.ofType('activity')).toEqual([{ active: false }, { active: true }])
  })

  test('is nothing that a server which does not know of it complains about', async () => {
    const { server, errors, connect } = scene()
    server.intercept = (connection, message) => {
      if (message.type !== 'activity') return false
      connection.refuse(message.id, 'unknown_type')
      return true
    }
    const client = connect()
    await settled()
    client.setActive(false)
    await settled()
    expect([client.status, errors]).toEqual(['online', []])
  })
})
