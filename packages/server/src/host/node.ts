/**
 * A node: one replica with its files, sockets and threads. It opens the data directory, replays what its state
 * store lacks, joins its peers and serves clients until it is stopped or an invariant breaks.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, equalBytes, fromHex, InvariantViolation, systemClock, toHex } from '@cipherlog/core'
import { group0, verdictName, verdicts, type CosignerMember, type CosignerSet, type NodeKeys } from '@cipherlog/format'
import { Ledger, type StateMachine } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { createWorkerVerifier } from '@cipherlog/proof/worker'
import { openGenesis, rulesVersionMax } from '@cipherlog/registry'
import {
  createFileWal,
  createLevelStateStore,
  createScrubber,
  installFileTrail,
  openDataDirectory,
  openFileSnapshots,
  openFileTrail,
} from '@cipherlog/storage'
import { type admit } from '../pipeline/admission.ts'
import { crossCheckTree } from '../pipeline/cross-check.ts'
import { GroupMember, type MemberObserver } from '../pipeline/group-member.ts'
import { GroupRouter } from '../pipeline/group-router.ts'
import { type Replica, type ReplicaObserver } from '../pipeline/replica.ts'
import { type Leadership, type ReplicaAddress } from '../replicator.ts'
import { openApplyNotes } from './apply-notes.ts'
import { createClusterServer } from './cluster-service.ts'
import { formatAddress, parseAddress, type Address, type NodeConfig } from './config.ts'
import { createApiServer } from './http.ts'
import { openJoinNotes } from './join-notes.ts'
import { cosignerMemberOf, readNodeKeys } from './keys.ts'
import { createLogger, type NodeLogger } from './logging.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { nodeOf } from './node-facade.ts'
import { createPeerTransport, type PeerTransport, type TransportMember } from './peers.ts'
import { readIfThere } from './replace-file.ts'
import { browserTlsIdentity, pinnedTlsIdentity, type TlsIdentity } from './tls.ts'
import { openSignedHead } from './signed-head.ts'
import { createThreadedEvaluator } from './vector-evaluator.ts'

export const nodeVersion = '0.1.0'

/** Verified proofs remembered between admission and apply. */
const verifiedProofsMax = 4096
const pendingProposalsMax = 4096
/** Leaf 0 and its batch record: all that is signed before the log has an entry. */
const genesisTreeSize = 2

export interface NodeOptions {
  readonly logger?: NodeLogger
  /** Called once if the node had to stop by itself; it has halted then, and closes. */
  readonly onFatal?: (error: unknown) => void
  /** Collects process metrics too; off where several nodes share a process. */
  readonly processMetrics?: boolean
  /** An application's own state machines; the same on every replica and in every audit. */
  readonly machines?: readonly StateMachine[]
  /** Replaces what a leader checks before it appends, to show what replicas do about a faulty one. */
  readonly admit?: typeof admit
}

export interface RunningNode {
  /** Base URL of the API. */
  readonly apiUrl: string
  /** Where the other replicas connect. */
  readonly peersAddress: Address
  readonly peerId: string
  /** What answers at this moment: another one once a snapshot was installed. */
  readonly replica: Replica
  readonly member: GroupMember
  readonly metrics: Metrics
  stop(): Promise<void>
}

/**
 * Opens the data directory and starts the replica in this process.
 * @throws CipherlogError `ERR_GENESIS_FILE`, `ERR_KEYS_FILE`, `ERR_NOT_A_MEMBER`, `ERR_DATA_DIR_*`, `ERR_WAL_*`,
 * `ERR_TRAIL_*`, `ERR_SIGNED_HEAD`, `ERR_LISTEN_*`, `ERR_RULES_*`; InvariantViolation if the disk contradicts itself.
 */
export async function startNode(config: NodeConfig, options: NodeOptions = {}): Promise<RunningNode> {
  const logger = options.logger ?? createLogger({ ...config.log })
  const metrics = createMetrics({ process: options.processMetrics ?? false })
  const keys = await readNodeKeys(config.keysFile)
  const signedGenesis = await readGenesis(config.genesisFile)
  const { cluster, genesis } = openGenesis(signedGenesis)
  const selfId = toHex(keys.peerId)
  await checkMember(keys, genesis.cosigners.members, config)

  const closing: (() => Promise<void>)[] = []
  let closed: Promise<void> | undefined
  const stopAll = (): Promise<void> => {
    closed ??= (async () => {
      for (let close = closing.pop(); close !== undefined; close = closing.pop()) await close()
    })()
    return closed
  }
  try {
    const directory = await openDataDirectory(config.dataDir, { cluster, peerId: keys.peerId })
    closing.push(() => directory.close())
    const { onDamage } = config.storage
    const wal = await createFileWal(directory.wal, { identity: { cluster, peerId: keys.peerId }, onDamage })
    closing.push(() => wal.close())
    const walContents = await wal.open()
    for (const damage of walContents.damage) logger.warn({ ...damage }, 'the log was not as written')
    const snapshots = await openFileSnapshots(directory.snapshots)
    closing.push(() => snapshots.close())
    for (const digest of snapshots.damaged) logger.warn({ digest }, 'a snapshot was damaged: it is removed')
    const state = await createLevelStateStore(directory.state)
    closing.push(() => state.close())
    const evaluator = createThreadedEvaluator()
    closing.push(() => evaluator.close())
    const verifier = cachedVerifier(
      await createWorkerVerifier({ threads: Math.max(1, config.tuning.proofThreads) }),
      verifiedProofsMax,
    )
    closing.push(() => verifier.close())

    const contents = walContents.group(group0)
    const isNew =
      contents.hardState === undefined &&
      contents.refs.length === 0 &&
      contents.baseIndex === 0 &&
      contents.doubt === undefined
    const signedHead = await openSignedHead(join(config.dataDir, 'signed-head'), {
      isNew: isNew && Ledger.isNew(state),
    })
    checkWal(isNew, signedHead.read()?.size ?? 0)

    const faults: unknown[] = []
    let stopping = false
