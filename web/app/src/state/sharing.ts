/** The links of a board, as the share dialog shows them, and what one can do with them. */

import type { LinkInfo, Role } from '@enfilade/client'
import { signal } from '@preact/signals'
import { api } from './account'
import { wordsFor } from './failure'
import { boardAddress, dropLink, knownLinks, rememberLink } from './shared-links'

export interface SharedLink extends LinkInfo {
  /** Present if this browser made it: the server does not tell it again. */
  readonly address: string | undefined
}

export class Sharing {
  readonly links = signal<readonly SharedLink[] | undefined>(undefined)
  readonly failure = signal<string | undefined>(undefined)
  readonly #room: string
  /** The secret that gives the right to share; absent for an owner with an account. */
  readonly #link: string | undefined

  constructor(room: string, link: string | undefined) {
    this.#room = room
    this.#link = link
  }

  async load(): Promise<void> {
    await this.#attempt(async () => {
      const known = knownLinks(this.#room)
      const links = await api.links(this.#room, this.#link)
      this.links.value = links.map((link) => ({ ...link, address: this.#address(known.get(link.id)) }))
    })
  }

  /** A link for a role that can be copied: the newest known one, or a new one. */
  async linkFor(role: Role): Promise<string | undefined> {
    const existing = this.links.value?.findLast((link) => link.role === role && link.address)
    return existing?.address ?? (await this.create(role))
  }

  async create(role: Role): Promise<string | undefined> {
    return this.#attempt(async () => {
      const made = await api.createLink(this.#room, role, this.#link)
      rememberLink(this.#room, made)
      await this.load()
      return this.#address(made.link)
    })
  }

  async revoke(id: string): Promise<void> {
    await this.#attempt(async () => {
      await api.revokeLink(this.#room, id, this.#link)
      dropLink(id)
      await this.load()
    })
  }

  #address(secret: string | undefined): string | undefined {
    return secret && new URL(boardAddress(this.#room, secret), location.origin).href
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      this.failure.value = undefined
      return await action()
    } catch (error) {
      this.failure.value = wordsFor(error)
      return undefined
    }
  }
}
