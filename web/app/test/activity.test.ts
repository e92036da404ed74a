import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { atPage, IDLE_MS, watchActivity } from '../src/state/activity'
import { deviceName } from '../src/state/device-name'

/** As much of a browser as is looked at. */
const page = Object.assign(new EventTarget(), { visibilityState: 'visible' })
const around = new EventTarget()
let stop = (): void => {}

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('document', page)
  vi.stubGlobal('addEventListener', around.addEventListener.bind(around))
  vi.stubGlobal('removeEventListener', around.removeEventListener.bind(around))
  page.visibilityState = 'visible'
  stop = watchActivity()
})

afterEach(() => {
  stop()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function look(state: string): void {
  page.visibilityState = state
  page.dispatchEvent(new Event('visibilitychange'))
}

test('a page in sight is idle after five minutes without a touch', () => {
  expect(atPage.value).toBe(true)
  vi.advanceTimersByTime(IDLE_MS - 1)
  around.dispatchEvent(new Event('pointermove'))
  vi.advanceTimersByTime(IDLE_MS - 1)
  expect(atPage.value).toBe(true)
  vi.advanceTimersByTime(1)
  expect(atPage.value).toBe(false)
  around.dispatchEvent(new Event('keydown'))
  expect(atPage.value).toBe(true)
})

test('a hidden page is idle at once', () => {
  look('hidden')
  expect(atPage.value).toBe(false)
  look('visible')
  expect(atPage.value).toBe(true)
})

test('devices are called what people call them', () => {
  const chrome = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36'
  const phone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1'
  const names = [chrome, phone, 'curl/8.5.0', ''].map(deviceName)
  expect(names).toEqual(['Chrome on Linux', 'Safari on iPhone', 'curl', 'A device'])
})
