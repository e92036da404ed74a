/** The front door: what this is, in a breath, and the way in. */

import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { BoardList } from '../landing/board-list'
import { HeroDrawing } from '../landing/hero-drawing'
import { restored, restoring, session } from '../state/account'
import { dialog } from '../state/dialogs'
import { wordsFor } from '../state/failure'
import { go } from '../state/navigation'
import { newBoard } from '../state/opening'
import { say } from '../state/toast'
import { Avatar } from '../ui/avatar'
import { Icon } from '../ui/icons'
import { signOut } from '../ui/main-menu'
import { ThemeChoice } from '../ui/theme-choice'
import { Wordmark } from '../ui/wordmark'

export function LandingPage(): JSX.Element {
  useEffect(() => {
    document.title = 'Enfilade: draw together'
  }, [])
  const user = session.value?.user
  return (
    <div class="landing">
      <header class="landing-head">
        <Wordmark />
        <nav aria-label="Account">
          <ThemeChoice />
          <Account />
        </nav>
      </header>
      <main>
        {user ? <Welcome name={user.name} /> : <Pitch />}
        <BoardList />
      </main>
      <footer class="landing-foot">
        <p>
          <em>Enfilade</em>: a suite of rooms, each opening into the next.
        </p>
        <a href="/swagger/">For developers</a>
        <ThemeChoice />
      </footer>
    </div>
  )
}

function Pitch(): JSX.Element {
  return (
    <section class="hero">
      <div class="pitch">
        <h1>Draw in the same room.</h1>
        <p>
          Open a board, send the link, and draw together as if around one table. Nobody needs an account, and nothing
          that says “saved” is ever lost.
        </p>
        <NewBoardButton />
      </div>
      <HeroDrawing />
    </section>
  )
}

/** Whoever is signed in knows what this is, and wants to get to their boards. */
function Welcome({ name }: { name: string }): JSX.Element {
  return (
    <section class="hero compact">
      <div class="pitch">
        <h1>Come in, {name}.</h1>
        <NewBoardButton />
      </div>
      <HeroDrawing />
    </section>
  )
}

function NewBoardButton(): JSX.Element {
  const [busy, setBusy] = useState(false)
  const open = async () => {
    setBusy(true)
    try {
      await restored
      go(await newBoard())
    } catch (error) {
      say(wordsFor(error), 'bad')
      setBusy(false)
    }
  }
  return (
    <button type="button" class="button primary grand" disabled={busy} onClick={open}>
      {busy ? 'Opening…' : 'New board'}
      <Icon name="arrow" />
    </button>
  )
}

function Account(): JSX.Element | null {
  if (restoring.value) return null
  const user = session.value?.user
  if (!user) {
    return (
      <>
        <button type="button" class="button quiet" onClick={() => (dialog.value = 'sign-in')}>
          Sign in
        </button>
        <button type="button" class="button sign-up" onClick={() => (dialog.value = 'sign-up')}>
          Sign up
        </button>
      </>
    )
  }
  return (
    <>
      <span class="who">
        <Avatar id={user.id} name={user.name} />
        <span>{user.name}</span>
      </span>
      <button type="button" class="button quiet" onClick={signOut}>
        Sign out
      </button>
    </>
  )
}
