/**
 * The drawing on the landing page: a suite of rooms, drawn by four hands. Made here from a few numbers, and inked by the
 * board's own pen. Pure: the same strokes every time, each with its hand, its beginning and its end in time.
 */

export interface Hand {
  readonly name: string
  readonly color: string
}

export const HANDS: readonly Hand[] = [
  { name: 'Ada', color: '#2a6bb5' },
  { name: 'Bruno', color: '#1c7c58' },
  { name: 'Chidi', color: '#b5423f' },
  { name: 'Dorothea', color: '#8a5a12' },
]

export interface SketchStroke {
  readonly hand: number
  readonly color: string
  readonly width: number
  readonly xy: Float32Array
  readonly pressure: Uint8Array
  /** Milliseconds since the drawing began. */
  readonly start: number
  readonly end: number
}

/** A doorway and the wall behind it, which shows as its outline is drawn. */
export interface Doorway {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly spring: number
  readonly bottom: number
  readonly start: number
}

export interface Sketch {
  readonly width: number
  readonly height: number
  readonly doorways: readonly Doorway[]
  readonly strokes: readonly SketchStroke[]
  readonly duration: number
}

type Pair = readonly [number, number]

const WIDTH = 900
const HEIGHT = 850
/** Where all lines meet. */
const EYE = { x: 452, y: 452 }
/** Each doorway is this much smaller than the one before it. */
const DEPTH = 0.615
const ROOMS = 5

const INK = '#1b2421'
const LEAF = '#1d8a5e'
const RED = '#c73a42'
const GOLD = '#d8a316'
const BLUE = '#2a72c8'

/** Units per millisecond, and the pause in which a hand moves on. */
const SPEED = 1.15
const PAUSE = 70

export function makeSketch(): Sketch {
  const doors = Array.from({ length: ROOMS }, (_, i) => doorway(i))
  const clock = [0, 700, 1_500, 2_300]
  const strokes: SketchStroke[] = []
  const draw = (hand: number, color: string, width: number, path: readonly Pair[]) => {
    const stroke = inked(hand, color, width, path, clock[hand] ?? 0, strokes.length)
    clock[hand] = stroke.end + PAUSE
    strokes.push(stroke)
    return stroke
  }
  const starts = doors.map((door, i) => {
    const start = draw(0, INK, 7 - i * 0.9, archOf(door)).start
    if (i > 0) for (const line of floorLines(doors[i - 1] as Flat, door)) draw(0, INK, 3.4 - i * 0.4, line)
    return start
  })
  plant(draw)
  chair(draw)
  lights(draw, doors)
  picture(draw, doors)
  const doorways = doors.map((door, i) => ({ ...door, start: starts[i] ?? 0 }))
  return { width: WIDTH, height: HEIGHT, doorways, strokes, duration: Math.max(...clock) }
}

type Draw = (hand: number, color: string, width: number, path: readonly Pair[]) => SketchStroke
type Flat = Omit<Doorway, 'start'>

function doorway(index: number): Flat {
  const scale = DEPTH ** index
  return {
    left: EYE.x - 392 * scale,
    right: EYE.x + 392 * scale,
    top: EYE.y - 432 * scale,
    spring: EYE.y - 96 * scale,
    bottom: EYE.y + 348 * scale,
  }
}

function archOf({ left, right, top, spring, bottom }: Flat): Pair[] {
  const middle = (left + right) / 2
  const turn = (i: number): Pair => {
    const angle = Math.PI - (i / 72) * Math.PI
    return [middle + Math.cos(angle) * (right - middle), spring - Math.sin(angle) * (spring - top)]
  }
  return [
    [left, bottom],
    [left, (bottom + spring) / 2],
    ...Array.from({ length: 73 }, (_, i) => turn(i)),
    [right, (bottom + spring) / 2],
    [right, bottom],
  ]
}

/** The floor's edges, and a board or two between. */
function floorLines(near: Flat, far: Flat): Pair[][] {
  const across = (share: number): Pair[] => [
    [near.left + (near.right - near.left) * share, near.bottom],
    [far.left + (far.right - far.left) * share, far.bottom],
  ]
  return [
    across(0),
    across(1),
    across(0.33),
    across(0.67),
    [
      [far.left - (near.right - far.right) * 0.4, far.bottom],
      [far.left, far.bottom],
    ],
    [
      [far.right, far.bottom],
      [far.right + (near.right - far.right) * 0.4, far.bottom],
    ],
  ]
}

function plant(draw: Draw): void {
  draw(1, RED, 6, [
    [118, 690],
    [126, 770],
    [196, 770],
    [204, 690],
    [112, 688],
  ])
  draw(1, RED, 4, [
    [116, 708],
    [202, 706],
  ])
  const leaf = (tip: Pair, bow: number) => {
    const root: Pair = [160, 690]
    const side = (sign: number): Pair => [(root[0] + tip[0]) / 2 + bow + sign * 17, (root[1] + tip[1]) / 2 + sign * 8]
    draw(1, LEAF, 6.5, curve([root, side(-1), tip]))
    draw(1, LEAF, 6.5, curve([tip, side(1), root]))
    draw(1, LEAF, 3, curve([root, [(root[0] + tip[0]) / 2 + bow, (root[1] + tip[1]) / 2], tip]))
  }
  leaf([152, 496], -6)
  leaf([84, 556], -22)
  leaf([226, 540], 20)
  leaf([244, 618], 18)
  leaf([70, 632], -14)
}

/** A chair in the first room, and somebody's cat beside it. */
function chair(draw: Draw): void {
  draw(2, RED, 6.5, [
    [700, 740],
    [706, 646],
    [698, 548],
  ])
  draw(
    2,
    RED,
    6.5,
    curve([
      [698, 548],
      [734, 538],
      [772, 550],
    ]),
  )
  draw(2, RED, 6.5, [
    [772, 550],
    [778, 640],
    [786, 752],
  ])
  draw(2, RED, 5.5, [
    [702, 588],
    [774, 590],
  ])
  draw(2, RED, 6.5, [
    [706, 646],
    [778, 640],
    [738, 668],
    [652, 670],
    [706, 646],
  ])
  draw(2, RED, 6, [
    [654, 672],
    [650, 762],
  ])
  draw(2, RED, 6, [
    [738, 670],
    [742, 776],
  ])
  // The cat: back and tail in one line, then ears and face.
  draw(
    2,
    INK,
    6,
    curve([
      [604, 762],
      [566, 764],
      [548, 742],
      [556, 702],
      [572, 684],
      [570, 660],
      [576, 644],
    ]),
  )
  draw(
    2,
    INK,
    6,
    curve([
      [576, 644],
      [572, 622],
      [586, 636],
      [602, 634],
      [614, 620],
      [614, 644],
      [616, 660],
      [598, 676],
      [574, 664],
    ]),
  )
  draw(
    2,
    INK,
    6,
    curve([
      [606, 676],
      [622, 712],
      [618, 762],
      [604, 762],
    ]),
  )
  draw(
    2,
    INK,
    6,
    curve([
      [552, 752],
      [520, 756],
      [506, 732],
      [518, 712],
      [530, 722],
    ]),
  )
  draw(2, INK, 4.5, [
    [588, 650],
    [589, 653],
  ])
  draw(2, INK, 4.5, [
    [603, 650],
    [604, 653],
  ])
  draw(
    2,
    INK,
    3.5,
    curve([
      [592, 660],
      [596, 664],
      [600, 660],
    ]),
  )
}

/** Lamps that hang in the first rooms, and the morning in the last. */
function lights(draw: Draw, doors: readonly Flat[]): void {
  const last = doors.at(-1) as Flat
  const sun = { x: EYE.x + 6, y: EYE.y - 18, radius: 15 }
  draw(3, GOLD, 6, arc(sun.x, sun.y, sun.radius, sun.radius, -2, 4.6))
  for (let i = 0; i < 7; i += 1) {
    const angle = -Math.PI + (i / 6) * Math.PI
    draw(3, GOLD, 3.4, [ray(sun, angle, 1.5), ray(sun, angle, 2.1)])
  }
  draw(
    3,
    LEAF,
    3,
    curve([
      [last.left + 5, EYE.y + 16],
      [EYE.x - 14, EYE.y + 6],
      [EYE.x + 14, EYE.y + 16],
      [last.right - 5, EYE.y + 8],
    ]),
  )
  for (const [index, door] of doors.slice(0, 3).entries()) {
    const scale = DEPTH ** index
    const x = EYE.x - 8 * scale
    const y = door.top + 108 * scale
    draw(3, INK, 3.6 - index * 0.6, [
      [x, door.top + 6 * scale],
      [x, y - 30 * scale],
    ])
    draw(
      3,
      GOLD,
      6.5 - index * 1.2,
      curve([
        [x - 40 * scale, y + 6 * scale],
        [x - 20 * scale, y - 24 * scale],
        [x, y - 30 * scale],
        [x + 20 * scale, y - 24 * scale],
        [x + 40 * scale, y + 6 * scale],
      ]),
    )
    draw(3, GOLD, 5.5 - index, [
      [x - 42 * scale, y + 7 * scale],
      [x + 42 * scale, y + 6 * scale],
    ])
    draw(3, GOLD, 4.5 - index * 0.8, arc(x, y + 10 * scale, 11 * scale, 12 * scale, 0.2, 2.9))
  }
}

const ray = ({ x, y, radius }: { x: number; y: number; radius: number }, angle: number, times: number): Pair => [
  x + Math.cos(angle) * radius * times,
  y + Math.sin(angle) * radius * times,
]

/** A picture on the wall of the first room: hills, as it happens. */
function picture(draw: Draw, doors: readonly Flat[]): void {
  const wall = doors[1] as Flat
  const x = wall.left - 104
  const y = EYE.y - 62
  draw(0, BLUE, 5, [
    [x, y],
    [x + 2, y + 104],
    [x + 82, y + 96],
    [x + 80, y + 8],
    [x, y],
  ])
  draw(
    0,
    BLUE,
    4,
    curve([
      [x + 8, y + 78],
      [x + 26, y + 48],
      [x + 44, y + 72],
      [x + 58, y + 54],
      [x + 74, y + 74],
    ]),
  )
  draw(0, BLUE, 3.6, arc(x + 56, y + 32, 8, 8, 0, 6.2))
}

function arc(x: number, y: number, rx: number, ry: number, from: number, to: number): Pair[] {
  return Array.from({ length: 19 }, (_, i): Pair => {
    const angle = from + ((to - from) * i) / 18
    return [x + Math.cos(angle) * rx, y + Math.sin(angle) * ry]
  })
}

/** A smooth way through all the points (Catmull–Rom). */
function curve(points: readonly Pair[]): Pair[] {
  const out: Pair[] = []
  for (let i = 0; i + 1 < points.length; i += 1) {
    const [a, b, c, d] = [i - 1, i, i + 1, i + 2].map(
      (k) => points[Math.min(Math.max(k, 0), points.length - 1)] as Pair,
    ) as [Pair, Pair, Pair, Pair]
    for (let step = 0; step < 8; step += 1)
      out.push([spline(a[0], b[0], c[0], d[0], step / 8), spline(a[1], b[1], c[1], d[1], step / 8)])
  }
  return [...out, points.at(-1) as Pair]
}

function spline(a: number, b: number, c: number, d: number, t: number): number {
  return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t ** 3)
}

/** Walks along a path in even steps, with a hand that trembles a little and presses now more, now less. */
function inked(
  hand: number,
  color: string,
  width: number,
  path: readonly Pair[],
  start: number,
  seed: number,
): SketchStroke {
  const xy: number[] = []
  const pressure: number[] = []
  const points = evenly(path, 6)
  points.forEach(([x, y], i) => {
    const way = i * 6
    const lift = Math.min(1, (i + 1) / 5, (points.length - i) / 4)
    xy.push(x + tremble(way, seed) * 1.5, y + tremble(way + 400, seed + 7) * 1.5)
    pressure.push(Math.round((0.3 + 0.26 * lift + 0.14 * tremble(way, seed + 3)) * 255))
  })
  const end = start + (points.length * 6) / SPEED
  return { hand, color, width, xy: Float32Array.from(xy), pressure: Uint8Array.from(pressure), start, end }
}

function evenly(path: readonly Pair[], step: number): Pair[] {
  const out: Pair[] = []
  let rest = 0
  for (let i = 0; i + 1 < path.length; i += 1) {
    const [ax, ay] = path[i] as Pair
    const [bx, by] = path[i + 1] as Pair
    const length = Math.hypot(bx - ax, by - ay)
    for (let at = rest; at < length; at += step)
      out.push([ax + ((bx - ax) * at) / length, ay + ((by - ay) * at) / length])
    rest = (Math.ceil((length - rest) / step) * step + rest - length) % step
  }
  return [...out, path.at(-1) as Pair]
}

const tremble = (way: number, seed: number): number =>
  Math.sin(way / 47 + seed * 1.7) * 0.6 + Math.sin(way / 19 + seed * 4.1) * 0.3 + Math.sin(way / 101 + seed) * 0.5
