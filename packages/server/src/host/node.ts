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
import { openOlderTrails } from './older-trails.ts'
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

    const olderTrails = await openOlderTrails(config.dataDir)
    closing.push(async () => {
      for (const trail of olderTrails.values()) await trail.close()
    })
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
    // Neither is there while the member opens, which may sign, send and fail already.
    let transport: PeerTransport | undefined = undefined
    let running: GroupMember | undefined = undefined
    const fatal = (error: unknown): void => {
      // What fails while everything is being closed fails because of that.
      if (faults.length > 0 || stopping) return
      faults.push(error)
      logger.error({ err: error }, 'the node stops: keep its disk and read the error')
      running?.halt()
      stopAll().catch((cause: unknown) => logger.error({ err: cause }, 'the stopped node could not close its files'))
      options.onFatal?.(error)
    }
    const rulesOf = (peerId: string): number | undefined =>
      peerId === selfId ? rulesVersionMax : transport?.rulesVersionMax(peerId)
    let url = ''
    /** Where the others reach this replica, unless the log names another address. */
    let ownAddress = ''
    const member: GroupMember = await GroupMember.open({
      keys,
      signedGenesis,
      ledgerOptions: { evaluator, rootOfBatch, machines: options.machines ?? [] },
      stores: {
        wal,
        contents,
        readOnly: walContents.readOnly,
        state,
        snapshots,
        trail: {
          open: (treeSize) => openFileTrail(directory.trail, treeSize),
          install: (manifest, pairs) => installFileTrail(directory.trail, manifest, pairs),
        },
        signedHead,
        olderTrails,
        joinNotes: await openJoinNotes(join(config.dataDir, 'join-notes')),
      },
      raft: {
        electionTicks: config.tuning.electionTicks,
        heartbeatTicks: config.tuning.heartbeatTicks,
        preVote: true,
        checkQuorum: true,
        maxInflightMessages: 256,
        maxInflightBytes: 32 * 1024 * 1024,
        maxAppendBytes: 1024 * 1024,
        maxUncommittedBytes: 64 * 1024 * 1024,
        // Twice an election timeout without a finished write: a leader whose disk hangs must not lead.
        diskStallTicks: config.tuning.electionTicks * 2,
        priority: config.tuning.priority,
        leaseMs: config.tuning.leaseMs,
        forwardReads: true,
        snapshotRetryTicks: config.tuning.electionTicks * 10,
        random: Math.random,
      },
      tickMs: config.tuning.tickMs,
      clock: systemClock,
      logger,
      memberObserver: memberObserver(metrics),
      send: (to, header, bodies) => transport?.send(to, header, bodies) ?? false,
      connected: (peerId) => transport?.connected(peerId) ?? false,
      snapshotBytesPerSecond: config.storage.snapshotBytesPerSecond,
      retention: { entriesMax: config.storage.logEntriesMax, bytesMax: config.storage.logBytesMax },
      verifier: countingVerifier(verifier, metrics),
      observer: replicaObserver(metrics),
      crossCheck: crossCheckTree,
      onMembersChanged: () => transport?.membersChanged(),
      onFatal: fatal,
      idleMarkMs: config.tuning.idleMarkMs,
      pendingProposalsMax,
      unappliedCostMsMax: config.tuning.unappliedCostMsMax,
      applyNotes: await openApplyNotes(join(config.dataDir, 'apply-note'), logger),
      votersSupport: () => {
        const { voters, votersOutgoing } = member.replicator.status().configuration
        return Math.min(...[...voters, ...votersOutgoing].map((voter) => rulesOf(voter) ?? 1))
      },
      admit: options.admit,
      members: () =>
        knownMembers(member, config, selfId).map(({ peerId, api, peers }) => ({
          peerId,
          api: peerId === selfId ? url : api,
          peers: peerId === selfId && peers === '' ? ownAddress : peers,
          connected: peerId === selfId || transport?.connected(peerId) === true,
          rulesVersionMax: rulesOf(peerId),
        })),
      version: nodeVersion,
    })
    running = member
    closing.push(async () => {
      stopping = true
      await member.stop()
    })
    member.replicator.onLeadershipChange(leadershipObserver(metrics, logger))

    const router = new GroupRouter((from) => metrics.peerStrayFrames.inc({ peer: from }))
    router.add(group0, member)
    const administrators = createClusterServer({
      cluster: member.cluster,
      keys: () => administratorKeys(member, keys),
      logger,
    })
    const network = createPeerTransport({
      self: { peerId: selfId, tlsSeed: keys.tls },
      cluster,
      rulesVersionMax,
      members: () => transportMembers(member, config, selfId),
      listed: () => listedReplicas(member),
      notMember: () => ({ type: 'notMember', group: group0, index: member.replicator.status().commitIndex }),
      onNotMember: (_from, { group, index }) => {
        if (equalBytes(group, group0)) member.notMember(index)
      },
      onAdmin: (socket, key) => administrators.accept(socket, key),
      listen: config.listen.peers,
      onFrame: (from, header, bodies) => {
        try {
          router.receive(from, header, bodies)
        } catch (error) {
          // The transport would take it for the peer's fault and close its connection.
          if (error instanceof InvariantViolation) fatal(error)
          else throw error
        }
      },
      onStateChange: (peer, connected) => router.peerStateChanged(peer, connected),
      logger,
      metrics,
    })
    transport = network
    const peersAddress = await network.start()
    ownAddress = formatAddress(peersAddress)
    closing.push(() => network.close())
    closing.push(() => administrators.close())
    const scrubber = createScrubber(wal, {
      clock: systemClock,
      bytesPerSecond: config.storage.scrubBytesPerSecond,
      onFound: (found) => {
        metrics.scrubFindings.inc(found.mended + found.holes.length + found.headersLost)
        const { mended, holes, headersLost } = found
        logger.warn({ mended, holes: holes.length, headersLost }, 'rereading the log found damage')
      },
    })
    const ticks = setInterval(() => {
      member.tick()
      if (config.storage.scrubBytesPerSecond > 0 && !walContents.readOnly) scrubber.tick().catch(fatal)
      metrics.damagedEntries.set(wal.holes(group0).length)
    }, config.tuning.tickMs)
    closing.push(() => {
      clearInterval(ticks)
      return Promise.resolve()
    })
    member.start()
    const http = createApiServer({
      node: nodeOf(member),
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
    const { origin, treeSize } = member.ledger
    logger.info({ api: url, peerId: selfId, origin, treeSize, membership: member.membership }, 'the node is up')
    return {
      apiUrl: url,
      peersAddress,
      peerId: selfId,
      get replica() {
        return member.replica
      },
      member,
      metrics,
      stop: stopAll,
    }
  } catch (error) {
    await stopAll()
    throw error
  }
}

export async function readGenesis(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (cause) {
    throw new CipherlogError('ERR_GENESIS_FILE', `Cannot read ${file}; copy the signed genesis of the cluster there.`, {
      cause,
    })
  }
}

/**
 * The genesis lists this replica with exactly these keys, or it joins, or joined and has a disk that says so.
 * @throws CipherlogError `ERR_NOT_A_MEMBER`
 */
async function checkMember(keys: NodeKeys, members: readonly CosignerMember[], config: NodeConfig): Promise<void> {
  const own = cosignerMemberOf(keys)
  const listed = members.find((member) => equalBytes(member.peerId, keys.peerId))
  const kinds = ['tlsKey', 'logKey', 'cosignerKey', 'answerKey'] as const
  if (listed !== undefined && kinds.every((kind) => equalBytes(listed[kind], own[kind]))) return
  if (listed === undefined && (config.join || (await isThere(join(config.dataDir, 'identity.json'))))) return
  throw new CipherlogError(
    'ERR_NOT_A_MEMBER',
    `Replica ${toHex(keys.peerId)} is not listed in the genesis with these keys; use those that the genesis was made with, or set join for one that is added later.`,
  )
}

async function isThere(file: string): Promise<boolean> {
  return (await readIfThere(file)) !== undefined
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

/** Every cosigner set of this generation, the newest first: replicas from before a restore have no part any more. */
function cosignerSetsOf({ ledger }: GroupMember): readonly CosignerSet[] {
  return ledger.registry.presentCosignerSets.map(({ set }) => set).reverse()
}

/** Replicas of any cosigner set, with their newest keys. */
function listedReplicas(member: GroupMember): { readonly peerId: string; readonly tlsKey: Uint8Array }[] {
  const keys = new Map<string, Uint8Array>()
  for (const { members } of cosignerSetsOf(member)) {
    for (const { peerId, tlsKey } of members) if (!keys.has(toHex(peerId))) keys.set(toHex(peerId), tlsKey)
  }
  return [...keys].map(([peerId, tlsKey]) => ({ peerId, tlsKey }))
}

/** Who takes part in the group; for a replica that does not yet, also whom its configuration names. */
function memberIds(member: GroupMember, config: NodeConfig): Set<string> {
  const { voters, learners, votersOutgoing } = member.replicator.status().configuration
  const ids = new Set([...voters, ...learners, ...votersOutgoing])
  if (member.membership === 'joining') for (const { id } of config.peers) ids.add(id)
  return ids
}

/** With whom frames are exchanged: members whose key the log lists, or, before it has been read, the configuration. */
function transportMembers(member: GroupMember, config: NodeConfig, selfId: string): TransportMember[] {
  const listed = new Map(listedReplicas(member).map(({ peerId, tlsKey }) => [peerId, tlsKey]))
  return [...memberIds(member, config)].flatMap((peerId) => {
    const configured = config.peers.find(({ id }) => id === peerId)
    const named = member.addresses.get(peerId)
    const given = configured?.tlsKey
    const tlsKey = listed.get(peerId) ?? (config.join && given !== undefined ? fromHex(given) : undefined)
    const address = configured?.address ?? (named === undefined ? undefined : parseAddress(named.peers))
    return tlsKey === undefined || peerId === selfId ? [] : [{ peerId, tlsKey, address }]
  })
}

/** Members and configured peers with their addresses, for status. */
function knownMembers(member: GroupMember, config: NodeConfig, selfId: string): ReplicaAddress[] {
  const ids = new Set([selfId, ...memberIds(member, config), ...config.peers.map(({ id }) => id)])
  return [...ids].map((peerId) => {
    const configured = config.peers.find(({ id }) => id === peerId)
    const named = member.addresses.get(peerId)
    const peers = configured === undefined ? (named?.peers ?? '') : formatAddress(configured.address)
    return { peerId, peers, api: configured?.api ?? named?.api ?? '' }
  })
}

/** Keys of replicas that may run the cluster: those of the newest set, of the members, and this one's own. */
function administratorKeys(member: GroupMember, keys: NodeKeys): Uint8Array[] {
  const { voters, learners, votersOutgoing } = member.replicator.status().configuration
  const members = new Set([...voters, ...learners, ...votersOutgoing])
  const newest = cosignerSetsOf(member)[0]!.members.map(({ tlsKey }) => tlsKey)
  const taking = listedReplicas(member).flatMap(({ peerId, tlsKey }) => (members.has(peerId) ? [tlsKey] : []))
  return [cosignerMemberOf(keys).tlsKey, ...newest, ...taking]
}

function memberObserver(metrics: Metrics): MemberObserver {
  return {
    snapshotTaken: (bytes, durationMs) => {
      metrics.snapshotBytes.set(bytes)
      metrics.snapshotDuration.observe(durationMs / 1000)
    },
    snapshotInstalled: () => metrics.snapshotsInstalled.inc(),
    snapshotProblem: (problem) => metrics.snapshotsDiscarded.inc({ problem }),
    snapshotChunk: (bytes) => metrics.snapshotReceivedBytes.inc(bytes),
    payloadRepaired: () => metrics.payloadsRepaired.inc(),
    compacted: (index) => metrics.compactedIndex.set(index),
    trailFrom: (leaf) => metrics.trailFrom.set(leaf),
    configuration: ({ voters, learners, votersOutgoing }) => {
      metrics.voters.set(voters.length)
      metrics.learners.set(learners.length)
      metrics.joint.set(votersOutgoing.length > 0 ? 1 : 0)
    },
    appended: (bytes, durationMs) => {
      metrics.walWriteBytes.inc(bytes)
      metrics.walAppendDuration.observe(durationMs / 1000)
      metrics.stageDuration.observe({ stage: 'appended' }, durationMs / 1000)
    },
  }
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
