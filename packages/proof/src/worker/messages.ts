/** What the pool and its threads say to each other. Bytes are copies, never views into a larger buffer. */
import { type BatchItem } from '../groth16/engine.ts'

export interface ThreadJob {
  readonly verificationKey: Uint8Array
  readonly items: readonly BatchItem[]
  readonly stopAtFirstFailure: boolean
}

export type ThreadAnswer =
  | { readonly type: 'ready' }
  | { readonly type: 'answers'; readonly answers: readonly boolean[] }
  | {
      readonly type: 'error'
      readonly kind: ErrorKind
      readonly code: string
      readonly message: string
      readonly details: Readonly<Record<string, unknown>>
    }

/** Which class the pool throws again: an error's class does not survive the way between threads. */
export type ErrorKind = 'decode' | 'invariant' | 'other'
