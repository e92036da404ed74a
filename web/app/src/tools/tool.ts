/** What a tool is: it is told of one gesture at a time, in board units. */

import type { Sample } from './smoothing'

export interface Tool {
  down(sample: Sample): void
  /** `predicted` is where the pointer will probably be next; only ever shown, never kept. */
  move(samples: readonly Sample[], predicted: readonly Sample[]): void
  up(sample: Sample): void
  /** The gesture turned out to be another one, or was taken back. */
  cancel(): void
}

export type ToolName = 'pen' | 'eraser' | 'hand'
