/** Sharing: a link to draw, a link to watch, and which links are out there. */

import type { Role } from '@enfilade/client'
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { Sharing, type SharedLink } from '../state/sharing'
import { Dialog } from './dialog'
import { Icon } from './icons'

interface Props {
  readonly room: string
  readonly link: string | undefined
  readonly role: Role
  readonly onClose: () => void
}

export function ShareDialog({ room, link, role, onClose }: Props): JSX.Element {
  return (
    <Dialog title="Share this board" onClose={onClose}>
      {role === 'owner' ? <OwnerSharing room={room} link={link} /> : <GuestSharing link={link} role={role} />}
    </Dialog>
  )
}

function OwnerSharing({ room, link }: { room: string; link: string | undefined }): JSX.Element {
  const sharing = useMemo(() => new Sharing(room, link), [room, link])
  useEffect(() => void sharing.load(), [sharing])
  return (
    <>
      <div class="share-ways">
        <ShareWay
          sharing={sharing}
          role="editor"
          icon="pen"
          title="Can edit"
          words="Draws with you, at once and without an account."
        />
        <ShareWay
          sharing={sharing}
          role="viewer"
          icon="eye"
          title="Can view"
          words="Sees everything as it happens, and changes nothing."
        />
      </div>
      {sharing.failure.value && (
        <p class="form-failure" role="alert">
          {sharing.failure.value}
        </p>
      )}
      <LinkList sharing={sharing} />
    </>
  )
}

interface WayProps {
  readonly sharing: Sharing
  readonly role: 'editor' | 'viewer'
  readonly icon: 'pen' | 'eye'
  readonly title: string
  readonly words: string
}

function ShareWay({ sharing, role, icon, title, words }: WayProps): JSX.Element {
  const known = sharing.links.value?.findLast((link) => link.role === role && link.address)?.address
  return (
    <section class="share-way" data-role={role}>
      <span class="share-icon">
        <Icon name={icon} />
      </span>
      <div>
        <h3>{title}</h3>
        <p>{words}</p>
      </div>
      <CopyButton address={known} make={() => sharing.linkFor(role)} />
      {known && (
        <input
          class="share-address"
          readOnly
          value={known}
          aria-label={`Link: ${title}`}
          onFocus={(event) => event.currentTarget.select()}
        />
      )}
    </section>
  )
}

function CopyButton({
  address,
  make,
}: {
  address: string | undefined
  make: () => Promise<string | undefined>
}): JSX.Element {
  const [outcome, setOutcome] = useState<'none' | 'copied' | 'failed'>('none')
  const copy = async () => {
    const text = address ?? (await make())
    if (!text) return
    setOutcome((await copied(text)) ? 'copied' : 'failed')
    setTimeout(() => setOutcome('none'), 2_500)
  }
  return (
    <button type="button" class={outcome === 'copied' ? 'button primary done' : 'button primary'} onClick={copy}>
      <Icon name={outcome === 'copied' ? 'check' : 'copy'} />
      <span aria-live="polite">
        {outcome === 'copied' ? 'Copied' : outcome === 'failed' ? 'Select and copy' : 'Copy link'}
      </span>
    </button>
  )
}

/** Browsers refuse the clipboard to pages without TLS; then the address stands there to be selected. */
async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}

function LinkList({ sharing }: { sharing: Sharing }): JSX.Element | null {
  const links = sharing.links.value?.filter((link) => link.role !== 'owner')
  if (!links || links.length === 0) return null
  return (
    <section class="link-list">
      <h3>Links given out</h3>
      <ul>
        {links.map((link) => (
          <LinkRow key={link.id} link={link} sharing={sharing} />
        ))}
      </ul>
      <p class="hint">Revoking a link closes the board at once for everybody who came through it.</p>
    </section>
  )
}

function LinkRow({ link, sharing }: { link: SharedLink; sharing: Sharing }): JSX.Element {
  const [sure, setSure] = useState(false)
  const name = link.role === 'editor' ? 'Can edit' : 'Can view'
  const where = link.address ? `…${link.address.slice(-6)}` : 'made in another browser'
  return (
    <li>
      <Icon name={link.role === 'editor' ? 'pen' : 'eye'} />
      <span>{name}</span>
      <code>{where}</code>
      <button
        type="button"
        class={sure ? 'button small danger' : 'button small quiet'}
        aria-label={sure ? `Really revoke this link (${name})` : `Revoke this link (${name})`}
        onClick={() => (sure ? void sharing.revoke(link.id) : setSure(true))}
        onBlur={() => setSure(false)}
      >
        {sure ? 'Really revoke?' : 'Revoke'}
      </button>
    </li>
  )
}

/** Only owners make links; everybody may pass on the one they came with. */
function GuestSharing({ link, role }: { link: string | undefined; role: Role }): JSX.Element {
  if (!link) return <p>Only the owner of this board can share it.</p>
  const address = location.href
  return (
    <div class="share-ways">
      <section class="share-way">
        <span class="share-icon">
          <Icon name="link" />
        </span>
        <div>
          <h3>The link you came with</h3>
          <p>
            {role === 'viewer' ? 'Whoever has it can watch.' : 'Whoever has it can draw.'} Only the owner can make
            others.
          </p>
        </div>
        <CopyButton address={address} make={() => Promise.resolve(address)} />
        <input
          class="share-address"
          readOnly
          value={address}
          aria-label="Link"
          onFocus={(event) => event.currentTarget.select()}
        />
      </section>
    </div>
  )
}
