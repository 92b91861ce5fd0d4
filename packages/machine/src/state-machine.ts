/**
 * The interface of a state machine: what a namespace's commands do to the state once everything around them
 * (signature, session, grant, epoch, envelope, gate, proof) has been checked. The built-in machines are its
 * first users. A machine is deterministic: no clock, no randomness, no I/O.
 */
import { type CommandBodies, type CommandHead, type NamespaceDefinition, type Verdict } from '@cipherlog/format'
import { type Transaction } from './state.ts'
import { type Cells } from './cells.ts'

export interface CommandContext {
  readonly namespace: NamespaceDefinition
  readonly state: Transaction
  readonly cells: Cells
  /** Place of the command: leaf of its bundle and number in it. */
  readonly leaf: number
  readonly command: number
  /** Of the leaf; kept with what outlives a generation, whose leaves are counted anew. */
  readonly generation: number
  readonly slicesPerCellMax: number
}

export interface StateMachine {
  /** As it stands in namespace definitions. */
  readonly name: string
  readonly version: number
  /**
   * SHA-256 by which the application names this code, 32 bytes; built-in machines have none. Namespaces name it, and
   * replicas and auditors run a namespace under exactly this code.
   */
  readonly code?: Uint8Array
  /** Operations it knows, `envelope` not counted. */
  readonly operations: readonly string[]
  /** Whether head and bodies have the right parts and sizes: pure, looks at no state. */
  accepts(head: CommandHead, namespace: NamespaceDefinition): boolean
  /** Milliseconds that applying is expected to take, for admission. */
  costOf(head: CommandHead): number
  /** Applies a checked command. Decides before it writes: a verdict other than `applied` must leave no write. */
  apply(context: CommandContext, head: CommandHead, bodies: CommandBodies): Verdict
}
