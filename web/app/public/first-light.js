// Sets the theme before the first pixel is painted, so that a dark page does not begin with a white flash.
// The page itself (src/state/theme.ts) takes over from here.
let theme
try {
  theme = JSON.parse(localStorage.getItem('enfilade.theme'))
} catch {
  // Nothing is kept, or something else: the system's theme it is.
}
if (theme !== 'light' && theme !== 'dark') theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'
document.documentElement.dataset.theme = theme
