/** How a replica keeps its state, record by record, in its state store. Never signed, never sent. */
import { array, bytes, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import { digest, id16 } from './common.ts'
import { groupStartBytesMax } from './group-start.ts'
import { keyEventBytesMax } from './key-event.ts'
import { keyEnvelope } from './key-envelope.ts'
import { policyChainLink } from './policy-chain.ts'
import { commandsPerBundleMax } from './command-bundle.ts'

/** An open client session: what the last bundle was and what became of it. */
export const storedSession = record('stored-session', {
  number: [1, uint()],
  firstSequence: [2, uint()],
  lastSequence: [3, uint()],
  /** SHA-256 of the signed CBOR array of the last bundle, or of the opening. */
  digest: [4, digest],
  leaf: [5, uint()],
  verdicts: [6, array(uint(0xff), commandsPerBundleMax)],
})
export type StoredSession = TypeOf<typeof storedSession>

/** Per client: the highest session number ever used, and the numbers of its open sessions. */
export const storedClientSessions = record('stored-client-sessions', {
  highWaterMark: [1, uint()],
  open: [2, array(uint(), 1024)],
})

/** A value of a kv namespace and where it was written. */
export const storedValue = record(
  'stored-value',
  {
    leaf: [1, uint()],
    command: [2, uint(255)],
    ciphertext: [3, bytes(1, 8_388_608)],
  },
  /** Whose leaf it is; absent: 0. */
  { generation: [4, uint(Number.MAX_SAFE_INTEGER, 1)] },
)
export type StoredValue = TypeOf<typeof storedValue>

/** A key envelope with its wraps; `wraps` is empty in a replay from a trail, which does not hold them. */
export const storedEnvelope = record('stored-envelope', {
  envelope: [1, keyEnvelope],
  wraps: [2, bytes(0, 131_072)],
  leaf: [3, uint()],
})
export type StoredEnvelope = TypeOf<typeof storedEnvelope>

/** A key event with its place. */
export const storedKeyEvent = record(
  'stored-key-event',
  {
    signed: [1, bytes(1, keyEventBytesMax + 4096)],
    leafIndex: [2, uint()],
    logTime: [3, uint()],
  },
  {
    /** Of a cosigner set: the size that old and new set signed. */
    transitionSize: [4, uint()],
    /** Whose leaf it is; absent: 0. */
    generation: [5, uint(Number.MAX_SAFE_INTEGER, 1)],
  },
)

/** A log entry that was set aside, and the leaf of the quarantine once that is reached. */
export const storedQuarantine = record(
  'stored-quarantine',
  { leaf: [1, uint()] },
  { recorded: [2, record('recorded-quarantine', { leaf: [1, uint()], digest: [2, digest] })] },
)

/** A group start, and the policy chain's links up to it with their transition checkpoints. */
export const storedGroupStart = record('stored-group-start', {
  signed: [1, bytes(1, groupStartBytesMax + 4096)],
  links: [2, array(policyChainLink, 256)],
})
export type StoredGroupStart = TypeOf<typeof storedGroupStart>

/** Batch sizes with their roots that a signer may name as `seen`. */
export const storedSeen = record('stored-seen', { rootHash: [1, digest], logTime: [2, uint()] })

/** What a client used of its quotas in the current minute of log time. */
export const storedQuota = record('stored-quota', {
  client: [1, id16],
  minute: [2, uint()],
  proofs: [3, uint()],
  bytes: [4, uint()],
})

/** The tree and the clock as of the last batch record. */
export const storedLedger = record('stored-ledger', {
  rulesVersion: [1, uint(0xffff, 1)],
  appliedIndex: [2, uint()],
  logTime: [3, uint()],
  treeSize: [4, uint()],
  /** Roots of the perfect subtrees, largest first (compact range). */
  peaks: [5, array(digest, 64)],
  /** Leaf hashes since the last multiple of 256. */
  tail: [6, array(digest, 255)],
  cellCount: [7, uint()],
  /** Name of the group's trail. */
  origin: [8, text(256)],
})
export type StoredLedger = TypeOf<typeof storedLedger>

/** The signed genesis, kept so that a state store stands on its own. */
export const storedGenesis = tuple(bytes(1, 270_000))
