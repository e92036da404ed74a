/**
 * One open board: the connection, the room in it, and what the page shows of both, as signals. It is opened with an
 * identity and a link, and closed as a whole; a new name or a new account is a new session.
 */

import {
  Board,
  Client,
  type CloseReason,
  type Member,
  type OpStore,
  type Role,
  type RoomState,
  type Status,
} from '@enfilade/client'
import { batch, computed, type ReadonlySignal, signal } from '@preact/signals'
import { Absence } from './absence'
import { atPage } from './activity'
import { api, loginEnded } from './account'
import { type Indication, indicate } from './indicator'
import { guestName } from './names'
import { keepResume, resumeFor } from './resume'
import { type Trouble, trouble, troubleOfClose, troubleOfRefusal } from './trouble'
import { unwatchUnsaved, watchUnsaved } from './unsaved'
import { hadBetterWatch } from './watching'

/** How long the first answer may take before the page says that the server is silent. */
const PATIENCE_MS = 6_000

export class BoardSession {
  readonly board: Board
  readonly link: string | undefined
  readonly client: Client
  readonly #stop: (() => void)[] = []

  readonly #absence = new Absence()
  readonly #status = signal<Status>('connecting')
  readonly #state = signal<RoomState>('joining')
  readonly #unanswered = signal(0)
  readonly #refused = signal(0)
  readonly #everJoined = signal(false)
  readonly #impatient = signal(false)
  readonly #end = signal<Trouble | undefined>(undefined)

  readonly role = signal<Role | null>(null)
  readonly title = signal('')
  readonly people = signal<readonly Member[]>([])
  readonly count = signal(0)
  /** How many only watch. */
  readonly audience = signal(0)
  readonly canUndo = signal(false)
  readonly canRedo = signal(false)
  /** Who one is on this board. */
  readonly me = signal<string | undefined>(undefined)

  readonly canEdit = computed(() => this.role.value === 'editor' || this.role.value === 'owner')
  /** There are so many that somebody who may only look had better watch. */
  readonly crowded: ReadonlySignal<boolean> = computed(
    () =>
      !this.watches &&
      hadBetterWatch({ role: this.role.value, count: this.count.value, audience: this.audience.value }),
  )
  readonly opened: ReadonlySignal<boolean> = computed(() => this.#everJoined.value)
  readonly indication: ReadonlySignal<Indication> = computed(() =>
    indicate({
      status: this.#status.value,
      state: this.#state.value,
      longLost: this.#absence.long.value,
      unanswered: this.#unanswered.value,
      refused: this.#refused.value,
      canEdit: this.canEdit.value,
      watches: this.watches,
      everJoined: this.#everJoined.value,
    }),
  )
  /** Why there is nothing to see; a board that was open once stays on the table while the server is away. */
  readonly trouble: ReadonlySignal<Trouble | undefined> = computed(
    () => this.#end.value ?? (this.#impatient.value && !this.#everJoined.value ? trouble('gone') : undefined),
  )

  /** `watches`: as one of the audience, without a name and without ops. */
  constructor(
    room: string,
    link: string | undefined,
    store: OpStore | undefined,
    readonly watches = false,
  ) {
    this.link = link
    const url = socketAddress(location)
    this.client = watches
      ? new Client({ url, audience: true, credentials: watcher })
      : new Client({ url, credentials, ...(store && { store }) })
    const known = link ? { link } : {}
    this.board = new Board(this.client.join(room, watches ? { ...known, snapshotFrom: 'http' } : known))
    this.#listen()
    watchUnsaved(this)
    const waiting = setTimeout(() => (this.#impatient.value = true), PATIENCE_MS)
    this.#stop.push(() => clearTimeout(waiting))
  }

  get unsaved(): number {
    return this.board.room.unanswered
  }

  /** The person has read that changes were refused. */
  acknowledgeRefusals(): void {
    this.#refused.value = 0
  }

  /** Leaves the board. What is still on its way keeps the connection until it has arrived. */
  close(): void {
    for (const stop of this.#stop) stop()
    this.board.close()
    this.client.on('closed', () => unwatchUnsaved(this))
    if (this.unsaved === 0) this.client.close()
    else this.client.on('idle', () => this.client.close())
  }

  #listen(): void {
    const { board, client } = this
    const { room } = board
    this.#stop.push(
      () => this.#absence.stop(),
      atPage.subscribe((active) => client.setActive(active)),
      client.on('status', (status) => this.#statusChanged(status)),
      client.on('welcome', (welcome) => {
        this.me.value = welcome.user?.id
        keepResume(welcome)
      }),
      client.on('closed', (reason) => this.#closed(reason)),
      room.on('joined', () => this.#joined()),
      room.on('renamed', (title) => (this.title.value = title)),
      room.on('refused', (error) => (this.#end.value = troubleOfRefusal(error))),
      room.on('state', (state) => (this.#state.value = state)),
      room.on('unanswered', (count) => (this.#unanswered.value = count)),
      room.on('presence', () => this.#presence()),
      board.on('history', ({ canUndo, canRedo }) =>
        batch(() => {
          this.canUndo.value = canUndo
          this.canRedo.value = canRedo
        }),
      ),
      board.on('rejected', () => (this.#refused.value += 1)),
    )
  }

  #statusChanged(status: Status): void {
    batch(() => {
      this.#status.value = status
      this.#absence.note(status === 'online')
    })
  }

  #joined(): void {
    const { room } = this.board
    batch(() => {
      this.#everJoined.value = true
      this.#state.value = room.state
      this.role.value = room.role
      this.title.value = room.title
      this.#end.value = room.kind === 'board' ? undefined : trouble('wrong-kind')
      this.#presence()
    })
  }

  #presence(): void {
    const { count, members, audience } = this.board.room.presence
    this.count.value = count
    this.audience.value = audience
    this.people.value = [...members.values()]
  }

  #closed(reason: CloseReason): void {
    // A close that was asked for on this page is no trouble.
    if (reason.code < 4000) return
    const end = troubleOfClose(reason)
    this.#end.value = end
    if (end.kind === 'signed-out') loginEnded()
  }
}

async function credentials() {
  const token = await api.token()
  if (token) return { token }
  const name = guestName.value
  const resume = resumeFor(name)
  return { guest: { name }, ...(resume && { resume }) }
}

/** Whoever is signed in watches as themselves, for the sake of boards that have no link; others as nobody. */
async function watcher() {
  const token = await api.token()
  return token ? { token } : {}
}

function socketAddress({ protocol, host }: Location): string {
  return `${protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws`
}
