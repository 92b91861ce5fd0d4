/** What goes between a node and its evaluator thread; one answer per job, in order. */
import { type Suite } from '@cipherlog/format'

export interface EvaluatorJob {
  readonly suite: Suite
  readonly sum: Uint8Array | undefined
  readonly contributions: Uint8Array[]
}

export type EvaluatorAnswer =
  { readonly type: 'sum'; readonly sum: Uint8Array } | { readonly type: 'failed'; readonly message: string }
