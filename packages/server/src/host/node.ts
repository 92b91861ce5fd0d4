/**
 * A node: one replica with its files, sockets and threads. It opens the data directory, replays what its state
 * store lacks, joins its peers and serves clients until it is stopped or an invariant breaks.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, equalBytes, fromHex, InvariantViolation, systemClock, toHex } from '@cipherlog/core'
import { verdictName, verdicts, type CosignerMember, type NodeKeys } from '@cipherlog/format'
import { splitPayloads } from '@cipherlog/format/peer-frame'
import { Ledger, type ClosedBatch, type Leaf, type LedgerOptions, type StateMachine } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { createWorkerVerifier } from '@cipherlog/proof/worker'
import { confStateOf } from '@cipherlog/raft'
import { openGenesis } from '@cipherlog/registry'
import {
  createFileWal,
  createLevelStateStore,
  openDataDirectory,
  openFileTrail,
  type StateStore,
} from '@cipherlog/storage'
import { type admit } from '../pipeline/admission.ts'
import { crossCheckTree } from '../pipeline/cross-check.ts'
import { type CosigningMessage } from '../pipeline/publisher.ts'
import { RaftReplicator } from '../pipeline/raft-replicator.ts'
import { readRaftState } from '../pipeline/raft-state.ts'
import { Replica, resumedFrom, type ReplicaObserver } from '../pipeline/replica.ts'
import { type Leadership } from '../replicator.ts'
import { openApplyNotes } from './apply-notes.ts'
import { type Address, type NodeConfig } from './config.ts'
import { createApiServer } from './http.ts'
import { cosignerMemberOf, readNodeKeys } from './keys.ts'
import { createLogger, type NodeLogger } from './logging.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { toPeerHeader, toRaftMessage } from './peer-messages.ts'
import { createPeerTransport, type PeerMember, type PeerMessageHeader } from './peers.ts'
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
  readonly replica: Replica
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
  checkMember(keys, genesis.cosigners.members)

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
    const wal = await createFileWal(directory.wal, { identity: { cluster, peerId: keys.peerId } })
    closing.push(() => wal.close())
    const walContents = await wal.open()
    const state = await createLevelStateStore(directory.state)
    closing.push(() => state.close())
    const evaluator = createThreadedEvaluator()
    closing.push(() => evaluator.close())
    const verifier = cachedVerifier(
      await createWorkerVerifier({ threads: Math.max(1, config.tuning.proofThreads) }),
      verifiedProofsMax,
    )
    closing.push(() => verifier.close())

    const machines = options.machines ?? []
    const { ledger, created } = await openLedger(state, signedGenesis, cluster, { evaluator, rootOfBatch, machines })
    const trail = await openFileTrail(directory.trail, created === undefined ? ledger.treeSize : 0)
    closing.push(() => trail.close())
    const log = walContents.group(ledger.group)
    const walIsEmpty = log.hardState === undefined && log.refs.length === 0
    const signedHead = await openSignedHead(join(config.dataDir, 'signed-head'), {
      isNew: walIsEmpty && created !== undefined,
    })
    checkWal(walIsEmpty, signedHead.read()?.size ?? 0)

    const faults: unknown[] = []
    let stopping = false
    let replica: Replica | undefined = undefined
    const fatal = (error: unknown): void => {
      // What fails while everything is being closed fails because of that.
      if (faults.length > 0 || stopping) return
      faults.push(error)
      logger.error({ err: error }, 'the node stops: keep its disk and read the error')
      replica?.halt()
      replicator.stop()
      stopAll().catch((cause: unknown) => logger.error({ err: cause }, 'the stopped node could not close its files'))
      options.onFatal?.(error)
    }

    const raftState = await readRaftState({
      group: ledger.group,
      wal,
      contents: log,
      applied: ledger.appliedIndex,
      confState: confStateOf(genesis.cosigners.members.map((member) => toHex(member.peerId))),
      confIndex: 0,
      filled: () => Promise.reject(new Error('not yet')),
    })
    const replicator: RaftReplicator = new RaftReplicator({
      config: {
        id: selfId,
        electionTicks: config.tuning.electionTicks,
        heartbeatTicks: config.tuning.heartbeatTicks,
        preVote: true,
        checkQuorum: true,
        maxInflightMessages: 256,
        maxInflightBytes: 32 * 1024 * 1024,
        maxAppendBytes: 1024 * 1024,
        maxUncommittedBytes: 64 * 1024 * 1024,
        maxClockErrorMs: genesis.limits.maxClockErrorMs,
        // Twice an election timeout without a finished write: a leader whose disk hangs must not lead.
        diskStallTicks: config.tuning.electionTicks * 2,
        initialTimeMs: genesis.createdAt,
        random: Math.random,
      },
      state: raftState,
      group: ledger.group,
      wal,
      clock: systemClock,
      logger,
      send: (to, message, payloads) => void transport.send(to, toPeerHeader(message, ledger.group), payloads),
      onAppended: (bytes, durationMs) => {
        metrics.walWriteBytes.inc(bytes)
        metrics.walAppendDuration.observe(durationMs / 1000)
        metrics.stageDuration.observe({ stage: 'appended' }, durationMs / 1000)
      },
      onFatal: fatal,
    })
    replicator.onLeadershipChange(leadershipObserver(metrics, logger))

    const onFrame = (from: string, header: PeerMessageHeader, bodies: Uint8Array): void => {
      if (header.type === 'cosignatures') {
        running.peerSignatures(fromHex(from), header)
      } else if (header.type === 'cosignatureRequest') {
        running.peerRequest(fromHex(from), header.size)
      } else {
        const message = toRaftMessage(header, from, selfId)
        if (message === undefined) return
        replicator.receive(message, header.type === 'append' ? splitPayloads(header.entries, bodies) : [])
      }
    }
    const transport = createPeerTransport({
      self: { peerId: selfId, tlsSeed: keys.tls },
      cluster,
      members: () => peerMembers(ledger, config),
      listen: config.listen.peers,
      onFrame: (from, header, bodies) => {
        try {
          onFrame(from, header, bodies)
        } catch (error) {
          // The transport would take it for the peer's fault and close its connection.
          if (error instanceof InvariantViolation) fatal(error)
          else throw error
        }
      },
      onStateChange: (peer, connected) => {
        if (connected) running.peerConnected()
        else replicator.unreachable(peer)
      },
      logger,
      metrics,
    })
    const header = (message: CosigningMessage): PeerMessageHeader => ({ ...message, group: ledger.group })

    let url = ''
    const running = new Replica(
      {
        ledger,
        keys,
        replicator,
        verifier: countingVerifier(verifier, metrics),
        trail,
        state,
        logger,
        observer: replicaObserver(metrics),
        signedHead,
        crossCheck: crossCheckTree,
        broadcast: (message) => {
          for (const { peerId } of peerMembers(ledger, config)) transport.send(peerId, header(message))
        },
        send: (to, message) => void transport.send(toHex(to), header(message)),
        onMembersChanged: () => transport.membersChanged(),
        onFatal: fatal,
        batchIntervalMs: genesis.limits.batchIntervalMs,
        idleMarkMs: config.tuning.idleMarkMs,
        pendingProposalsMax,
        unappliedCostMsMax: config.tuning.unappliedCostMsMax,
        applyNotes: await openApplyNotes(join(config.dataDir, 'apply-note'), logger),
        admit: options.admit,
        peerAddresses: () => [
          { peerId: selfId, api: url, connected: true },
          ...config.peers.map(({ id, api }) => ({ peerId: id, api, connected: transport.connected(id) })),
        ],
        version: nodeVersion,
      },
      await resumedFrom(trail),
    )
    replica = running
    if (created !== undefined) running.begin(created.leaf, created.closed)
    else await running.resume()

    const peersAddress = await transport.start()
    closing.push(() => transport.close())
    const ticks = setInterval(() => replicator.tick(), config.tuning.tickMs)
    void running.run()
    closing.push(async () => {
      clearInterval(ticks)
      stopping = true
      replicator.stop()
      await running.stop()
    })
    const http = createApiServer({
      node: running,
      metrics,
      listen: config.listen.api,
      tls: await apiIdentities(config, keys),
      logger,
    })
    const bound = await http.start()
    // Closed first, so that requests under way still get their answers.
    closing.push(() => http.close())
    url = `https://${bound.host.includes(':') ? `[${bound.host}]` : bound.host}:${bound.port}`
    if (faults.length > 0) {
      // It closed what there was at that time; the rest is closed below.
      closed = undefined
      throw faults[0]
    }
    logger.info({ api: url, peerId: selfId, origin: ledger.origin, treeSize: ledger.treeSize }, 'the node is up')
    return { apiUrl: url, peersAddress, peerId: selfId, replica: running, metrics, stop: stopAll }
  } catch (error) {
    await stopAll()
    throw error
  }
}

/** @throws CipherlogError `ERR_GENESIS_FILE` */
export async function readGenesis(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (cause) {
    throw new CipherlogError('ERR_GENESIS_FILE', `Cannot read ${file}; copy the signed genesis of the cluster there.`, {
      cause,
    })
  }
}

/** @throws CipherlogError `ERR_NOT_A_MEMBER` unless the genesis lists this replica with exactly these keys. */
function checkMember(keys: NodeKeys, members: readonly CosignerMember[]): void {
  const own = cosignerMemberOf(keys)
  const listed = members.find((member) => equalBytes(member.peerId, keys.peerId))
  const kinds = ['tlsKey', 'logKey', 'cosignerKey', 'answerKey'] as const
  if (listed !== undefined && kinds.every((kind) => equalBytes(listed[kind], own[kind]))) return
  throw new CipherlogError(
    'ERR_NOT_A_MEMBER',
    `Replica ${toHex(keys.peerId)} is not listed in the genesis with these keys; use those that the genesis was made with.`,
  )
}

/**
 * A voter that lost its log could vote twice in a term and forget what it acknowledged: its peer id is spent.
 * @throws CipherlogError `ERR_WAL_LOST`
 */
function checkWal(isEmpty: boolean, signedSize: number): void {
  if (!isEmpty || signedSize <= genesisTreeSize) return
  throw new CipherlogError(
    'ERR_WAL_LOST',
    `This replica signed a tree of ${signedSize} leaves, but its log is empty; replace it by one with new keys.`,
    { details: { signedSize } },
  )
}

/** The ledger of the state store, or a fresh one from the genesis. */
async function openLedger(
  state: StateStore,
  signedGenesis: Uint8Array,
  cluster: Uint8Array,
  options: LedgerOptions,
): Promise<{ ledger: Ledger; created: { leaf: Leaf; closed: ClosedBatch } | undefined }> {
  const opened = await Ledger.open(state, options)
  if (opened === undefined) {
    const { ledger, leaf, closed } = await Ledger.create(state, signedGenesis, options)
    return { ledger, created: { leaf, closed } }
  }
  if (!equalBytes(opened.registry.cluster, cluster)) {
    throw new CipherlogError(
      'ERR_DATA_DIR_FOREIGN',
      'The data directory belongs to another cluster; name the right one.',
    )
  }
  return { ledger: opened, created: undefined }
}

/**
 * Replicas that this node talks to, as far as it knows their addresses: those of the newest cosigner set, of the one
 * before, whose signatures the transition needs, and the voters, which are those of the genesis.
 */
function peerMembers({ registry }: Ledger, config: NodeConfig): PeerMember[] {
  const { cosignerSets, genesis } = registry
  const sets = [...cosignerSets.slice(-2).reverse(), { set: genesis.cosigners }]
  return config.peers.flatMap(({ id, address }) => {
    const member = sets.flatMap(({ set }) => set.members).find((candidate) => toHex(candidate.peerId) === id)
    return member === undefined ? [] : [{ peerId: id, tlsKey: member.tlsKey, address }]
  })
}

/** Like etcd, counts a change when a leader becomes known who is not the last one known. */
function leadershipObserver(metrics: Metrics, logger: NodeLogger): (leadership: Leadership) => void {
  let known: string | undefined
  return ({ role, leaderId, term }) => {
    metrics.hasLeader.set(leaderId === undefined ? 0 : 1)
    metrics.isLeader.set(role === 'leader' ? 1 : 0)
    if (leaderId !== undefined && leaderId !== known) {
      known = leaderId
      metrics.leaderChangesSeen.inc()
    }
    logger.info({ role, leaderId, term }, 'leadership')
  }
}

function replicaObserver(metrics: Metrics): ReplicaObserver {
  return {
    refused: (code) => metrics.proposalsRefused.inc({ code }),
    applied: ({ verdicts: all, durationMs }) => {
      metrics.proposalsCommitted.inc()
      metrics.applyDuration.observe(durationMs / 1000)
      for (const verdict of all) {
        if (verdict === verdicts.applied) metrics.proposalsApplied.inc()
        else metrics.proposalsRejected.inc({ verdict: verdictName(verdict) })
      }
    },
    pending: (count) => metrics.proposalsPending.set(count),
    stage: (stage, durationMs) => metrics.stageDuration.observe({ stage }, durationMs / 1000),
    treeSize: (size) => metrics.treeSize.set(size),
    published: (size) => metrics.publishedSize.set(size),
  }
}

function countingVerifier(verifier: ProofVerifier, metrics: Metrics): ProofVerifier {
  return {
    async verify(checks, options) {
      const answers = await verifier.verify(checks, options)
      for (const good of answers) metrics.proofVerifications.inc({ result: good ? 'good' : 'bad' })
      return answers
    },
    close: () => verifier.close(),
  }
}

/** The operator's certificate if there is one, else the replica's own: one for pinning clients, one for browsers. */
async function apiIdentities(config: NodeConfig, keys: NodeKeys): Promise<TlsIdentity[]> {
  if (config.tls !== undefined) {
    const { certFile, keyFile } = config.tls
    return [{ certificate: await readFile(certFile, 'utf8'), privateKey: await readFile(keyFile, 'utf8') }]
  }
  const hosts = [...new Set([config.listen.api.host, 'localhost'])]
  return [pinnedTlsIdentity(keys.tls, `cipherlog-api-${toHex(keys.peerId)}`), browserTlsIdentity(hosts)]
}
