/** Snapshots that travel compressed: raw DEFLATE (RFC 1951), unpacked by what browsers and Node have for it. */

/** No board is larger, even in the worst case; a stream that yields more is broken. */
const UNPACKED_MAX = 256 * 1_024 * 1_024

export const INFLATES: boolean = canInflate()

function canInflate(): boolean {
  try {
    return typeof DecompressionStream === 'function' && new DecompressionStream('deflate-raw') !== undefined
  } catch {
    return false
  }
}

/** Rejects when the stream is broken, cut off, or yields more than any snapshot. */
export async function inflate(packed: Uint8Array, max: number = UNPACKED_MAX): Promise<Uint8Array> {
  const stream = new DecompressionStream('deflate-raw')
  const writer = stream.writable.getWriter()
  // What goes wrong is told by the reading end.
  const written = Promise.allSettled([writer.write(packed as Uint8Array<ArrayBuffer>), writer.close()])
  const parts: Uint8Array[] = []
  let length = 0
  const reader = stream.readable.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > max) {
      await reader.cancel()
      throw new RangeError(`more than ${max} bytes`)
    }
    parts.push(value)
  }
  await written
  return joined(parts, length)
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
