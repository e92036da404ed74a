/** Where the page begins. */

import '@fontsource-variable/bricolage-grotesque'
import '@fontsource-variable/instrument-sans'
import './styles/tokens.css'
import './styles/base.css'
import './styles/controls.css'
import './styles/dialogs.css'
import './styles/board.css'
import './styles/landing.css'
import './styles/trouble.css'
import { render } from 'preact'
import { App } from './app'
import { watchActivity } from './state/activity'
import { followTheme } from './state/theme'
import { warnOfUnsaved } from './state/unsaved'

followTheme()
warnOfUnsaved()
watchActivity()
const place = document.getElementById('app')
if (place) render(<App />, place)
