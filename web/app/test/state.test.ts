import { EnfiladeError } from '@enfilade/client'
import { describe, expect, test } from 'vitest'
import { listed } from '../src/landing/listed'
import { ago } from '../src/state/ago'
import { indicate, type Known } from '../src/state/indicator'
import { routeOf } from '../src/state/route'
import { friendlyName, NAME_MAX, tidyName } from '../src/state/name-rules'
import { bestLink } from '../src/state/best-link'
import { colorOf, initials, PERSON_COLORS } from '../src/state/people'
import { type RememberedBoard, REMEMBERED_MAX, withVisit } from '../src/state/visits'
import { wordsFor } from '../src/state/failure'
import { trouble, troubleOfClose, troubleOfRefusal } from '../src/state/trouble'

describe('the indicator', () => {
  const fine: Known = {
    status: 'online',
    state: 'joined',
    longLost: false,
    unanswered: 0,
    refused: 0,
    canEdit: true,
    everJoined: true,
  }
  const lost: Known = { ...fine, status: 'offline', state: 'joining', longLost: true }

  test('says saved only when nothing is on its way', () => {
    expect(indicate(fine).safety).toBe('saved')
    expect(indicate({ ...fine, unanswered: 1 }).safety).toBe('saving')
  })

  test('counts what waits while offline', () => {
    expect(indicate(lost).label).toBe('Offline')
    expect(indicate({ ...lost, unanswered: 1 }).label).toBe('Offline · 1 change')
    expect(indicate({ ...lost, unanswered: 7 }).label).toBe('Offline · 7 changes')
  })

  test('is calm about a connection that was lost just now, and says the same until the board is back', () => {
    const calm = indicate({ ...lost, longLost: false })
    expect(calm).toMatchObject({ safety: 'reconnecting', label: 'Reconnecting…' })
    expect(calm.explanation).toContain('changes are kept')
    expect(indicate({ ...lost, longLost: false, unanswered: 3 }).explanation).toContain('3 changes are kept')
    expect(indicate({ ...fine, status: 'connecting' }).safety).toBe('reconnecting')
    expect(indicate({ ...fine, state: 'joining', unanswered: 3 }).safety).toBe('reconnecting')
  })

  test('tells of refused changes, but first that one is offline', () => {
    expect(indicate({ ...fine, refused: 2 })).toMatchObject({ safety: 'refused', label: '2 changes refused' })
    expect(indicate({ ...lost, refused: 2 }).safety).toBe('offline')
  })

  test('does not promise a viewer that anything is saved', () => {
    expect(indicate({ ...fine, canEdit: false }).safety).toBe('viewing')
  })

  test('is opening until the board was there once', () => {
    expect(indicate({ ...fine, status: 'connecting', everJoined: false }).safety).toBe('opening')
    expect(indicate({ ...fine, status: 'offline', everJoined: false }).safety).toBe('opening')
    expect(indicate({ ...lost, everJoined: false }).safety).toBe('offline')
  })
})

describe('routes', () => {
  const room = '7d1e0000-0000-4000-8000-00000000abcd'
  test('are read from the address', () => {
    expect(routeOf({ pathname: '/', hash: '' })).toEqual({ page: 'landing' })
    expect(routeOf({ pathname: `/b/${room}`, hash: '#q1w2' })).toEqual({ page: 'board', room, link: 'q1w2', watch: false })
    expect(routeOf({ pathname: `/b/${room.toUpperCase()}/`, hash: '' })).toEqual({
      page: 'board',
      room,
      link: undefined,
      watch: false,
    })
    expect(routeOf({ pathname: `/b/${room}`, search: '?watch', hash: '#q1w2' })).toMatchObject({ link: 'q1w2', watch: true })
    expect(routeOf({ pathname: '/b/nonsense', hash: '' })).toEqual({ page: 'nowhere' })
    expect(routeOf({ pathname: `/b/${room}`, hash: '#%E0%A4%A' })).toMatchObject({ link: '%E0%A4%A' })
  })
})

describe('names', () => {
  test('lose what cannot be seen and keep what can', () => {
    expect(tidyName('  Ada\u202e \n Lovelace ')).toBe('Ada Lovelace')
    expect(tidyName('Zoë 👩‍🎨')).toBe('Zoë 👩‍🎨')
    expect(tidyName(' \u200b ')).toBeUndefined()
    expect([...tidyName('x'.repeat(200))!]).toHaveLength(NAME_MAX)
  })

  test('of guests are friendly and valid', () => {
    for (let i = 0; i < 20; i += 1) {
      const name = friendlyName(() => i / 20)
      expect(tidyName(name)).toBe(name)
    }
  })

  test('have initials and a colour that stays', () => {
    expect(initials('Ada Byron King')).toBe('AK')
    expect(initials('李小龙')).toBe('李')
    expect(initials('  ')).toBe('?')
    expect(colorOf('some-id')).toBe(colorOf('some-id'))
    const used = new Set(Array.from({ length: 200 }, (_, i) => colorOf(`person ${i}`)))
    expect(used.size).toBe(PERSON_COLORS.length)
  })
})

describe('remembered boards', () => {
  const board = (id: string, more: Partial<RememberedBoard> = {}): RememberedBoard => ({
    id,
    title: id,
    role: 'editor',
    link: `link-${id}`,
    at: 1,
    ...more,
  })

  test('never trade an owner’s link for a lesser one', () => {
    const [entry] = withVisit(
      [board('a', { role: 'owner', link: 'mine' })],
      board('a', { role: 'editor', link: 'theirs', at: 2 }),
    )
    expect(entry).toMatchObject({ role: 'owner', link: 'mine', at: 2 })
  })

  test('come newest first and are bounded; one’s own go last', () => {
    const many = Array.from({ length: REMEMBERED_MAX }, (_, i) =>
      board(`b${i}`, { role: i === REMEMBERED_MAX - 1 ? 'owner' : 'editor' }),
    )
    const next = withVisit(many, board('new'))
    expect(next).toHaveLength(REMEMBERED_MAX)
    expect(next[0]!.id).toBe('new')
    expect(next.some(({ id }) => id === `b${REMEMBERED_MAX - 1}`)).toBe(true)
    expect(next.some(({ id }) => id === `b${REMEMBERED_MAX - 2}`)).toBe(false)
  })

  test('open with the link that gives most', () => {
    expect(bestLink('address', board('a', { role: 'owner', link: 'mine' }))).toBe('mine')
    expect(bestLink('address', board('a', { role: 'editor', link: 'old' }))).toBe('address')
    expect(bestLink(undefined, board('a', { link: 'old' }))).toBe('old')
    expect(bestLink(undefined, undefined)).toBeUndefined()
  })

  test('are listed once: in the account, or in this browser', () => {
    const { kept, loose } = listed(
      [
        { id: 'a', title: 'A', role: 'owner' },
        { id: 'c', title: 'C', role: 'viewer' },
      ],
      [board('c', { at: 9 }), board('b')],
    )
    expect(kept.map(({ id }) => id)).toEqual(['c', 'a'])
    expect(loose.map(({ id }) => id)).toEqual(['b'])
  })
})

test('trouble is told by its code', () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  expect(troubleOfRefusal({ code: 'room_not_found', traceId })).toEqual(trouble('missing'))
  expect(troubleOfRefusal({ code: 'link_invalid' }).kind).toBe('revoked')
  expect(troubleOfRefusal({ code: 'something_new' })).toEqual(trouble('unavailable'))
  const reference = 'Reference 4bf92f3577b3'
  expect(troubleOfRefusal({ code: 'something_new', traceId })).toEqual({ ...trouble('unavailable'), reference })
  expect(troubleOfClose({ code: 4501, reason: 'signed_out' }).kind).toBe('signed-out')
  expect(troubleOfClose({ code: 4502, reason: 'access_revoked' }).kind).toBe('revoked')
})

test('what nobody expected is told with what finds it in the log', () => {
  const error = (code: string) => new EnfiladeError(code, 'no', undefined, undefined, '4bf92f3577b34da6a3ce929d0e0e4736')
  expect(wordsFor(error('internal'))).toBe('That did not work. Try again in a moment. (Reference 4bf92f3577b3)')
  expect(wordsFor(error('username_taken'))).toBe('Somebody already has that user name.')
  expect(wordsFor(new EnfiladeError('internal', 'no'))).toBe('That did not work. Try again in a moment.')
})

test('time is told in words', () => {
  const now = 1_767_225_600_000
  expect(ago(now - 5_000, now)).toBe('just now')
  expect(ago(now - 3 * 3_600_000, now)).toBe('3 hours ago')
  expect(ago(now - 25 * 3_600_000, now)).toBe('yesterday')
})
