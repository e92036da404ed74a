/**
 * The secrets of links made in this browser. The server never tells a secret twice, so a link that should be copied
 * again has to be remembered here.
 */

import type { NewLink, Role } from '@enfilade/client'
import { keep, recall } from './keeping'

interface KnownLink {
  readonly room: string
  readonly id: string
  readonly role: Role
  readonly link: string
}

const KNOWN_MAX = 400

const isKnown = (value: unknown): value is KnownLink[] =>
  Array.isArray(value) &&
  value.every((entry) => ['room', 'id', 'role', 'link'].every((key) => typeof entry?.[key] === 'string'))

const all = (): KnownLink[] => recall('links', isKnown) ?? []

export function rememberLink(room: string, { id, role, link }: NewLink): void {
  keep('links', [{ room, id, role, link }, ...all()].slice(0, KNOWN_MAX))
}

export function knownLinks(room: string): ReadonlyMap<string, string> {
  return new Map(all().flatMap((entry) => (entry.room === room ? [[entry.id, entry.link] as const] : [])))
}

export function dropLink(id: string): void {
  keep(
    'links',
    all().filter((entry) => entry.id !== id),
  )
}

/** The address that opens a board with this secret. */
export const boardAddress = (room: string, link?: string): string => `/b/${room}${link ? `#${link}` : ''}`
