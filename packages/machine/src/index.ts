/** The replicated state as a pure function of the log. */
export { Ledger, batchLeavesMax, type LedgerOptions, type LedgerSnapshot } from './ledger.ts'
export { openSnapshot } from './open-snapshot.ts'
export { putMemberAddresses, readMemberAddresses } from './member-addresses.ts'
export { fillWraps, storedEnvelopes } from './envelopes.ts'
export { builtInMachines } from './machines.ts'
export { type NamedEntry } from './quarantines.ts'
export {
  type Admission,
  type ClosedBatch,
  type EntryPlace,
  type Leaf,
  type NeededProof,
  type Plan,
  type Proposal,
} from './entry.ts'
export { type CommandContext, type StateMachine } from './state-machine.ts'
export { createMemoryState, type State } from './state.ts'
export { cellDigest, type CellEvaluator } from './cells.ts'
export { type StoredAnswer } from './sessions.ts'
