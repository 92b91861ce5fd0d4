/**
 * A node: one replica with its files, sockets and threads. It opens the data directory, replays what its state
 * store lacks, joins its peers and serves clients until it is stopped or an invariant breaks.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, decode, equalBytes, fromHex, systemClock, toHex } from '@cipherlog/core'
import { policyChain, verdictName, verdicts, type NodeKeys } from '@cipherlog/format'
import { Ledger, type ClosedBatch, type Leaf, type LedgerOptions } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { createWorkerVerifier } from '@cipherlog/proof/worker'
import { openGenesis } from '@cipherlog/registry'
import {
  createFileTrail,
  createFileWal,
  createLevelStateStore,
  openDataDirectory,
  type StateStore,
  type TrailStore,
} from '@cipherlog/storage'
import { type admit } from '../pipeline/admission.ts'
import { crossCheckTree } from '../pipeline/cross-check.ts'
import { RaftReplicator } from '../pipeline/raft-replicator.ts'
import { Replica, type Resumed } from '../pipeline/replica.ts'
import { type NodeConfig } from './config.ts'
import { createHttpServer } from './http.ts'
import { readNodeKeys } from './keys.ts'
import { createLogger, type NodeLogger } from './logging.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { toPeerHeader, toRaftMessage } from './peer-messages.ts'
import { createPeerTransport, type PeerMember } from './peers.ts'
import { openSignedHead } from './signed-head.ts'
import { createThreadedEvaluator } from './vector-evaluator.ts'

export const nodeVersion = '0.1.0'

/** Verified proofs remembered between admission and apply. */
const verifiedProofsMax = 4096
const pendingProposalsMax = 4096

export interface NodeOptions {
  readonly logger?: NodeLogger
  /** Called once if the node had to stop by itself. */
  readonly onFatal?: (error: unknown) => void
  /** Collects process metrics too; off where several nodes share a process. */
  readonly processMetrics?: boolean
  /** Replaces what a leader checks before it appends, to show what replicas do about a faulty one. */
  readonly admit?: typeof admit
}

export interface RunningNode {
  /** Base URL of the API. */
  readonly apiUrl: string
  readonly peerId: string
  readonly replica: Replica
  readonly metrics: Metrics
  stop(): Promise<void>
}

export async function startNode(config: NodeConfig, options: NodeOptions = {}): Promise<RunningNode> {
  const logger = options.logger ?? createLogger({ ...config.log })
  const metrics = createMetrics({ process: options.processMetrics ?? false })
  const keys = await readNodeKeys(config.keysFile)
  const signedGenesis = await readGenesis(config.genesisFile)
  const { cluster, genesis } = openGenesis(signedGenesis)
  const selfId = toHex(keys.peerId)
  if (!genesis.cosigners.members.some((member) => equalBytes(member.peerId, keys.peerId))) {
    throw new CipherlogError(
      'ERR_NOT_A_MEMBER',
      `Replica ${selfId} is not listed in the genesis; use the keys that the genesis was made with.`,
    )
  }

  const closing: (() => Promise<void>)[] = []
  const stopAll = async (): Promise<void> => {
    for (const close of closing.splice(0).reverse()) await close()
  }
  try {
    const identity = { cluster, peerId: keys.peerId }
    const directory = await openDataDirectory(config.dataDir, identity)
    closing.push(() => directory.close())
    const wal = await createFileWal(join(config.dataDir, 'wal'), { identity })
    closing.push(() => wal.close())
    const walContents = await wal.open()
    const state = await createLevelStateStore(join(config.dataDir, 'state'))
    closing.push(() => state.close())
    const trail = await createFileTrail(join(config.dataDir, 'trail'))
    closing.push(() => trail.close())
    const evaluator = createThreadedEvaluator()
    closing.push(() => evaluator.close())
    const verifier = cachedVerifier(
      await createWorkerVerifier({ threads: Math.max(1, config.tuning.proofThreads) }),
      verifiedProofsMax,
    )
    closing.push(() => verifier.close())

    const { ledger, created } = await openLedger(state, signedGenesis, cluster, { evaluator, rootOfBatch })
    await trail.open(created === undefined ? ledger.treeSize : 0)
    const log = walContents.group(ledger.group)

    let stopped = false
    const fatal = (error: unknown): void => {
      if (stopped) return
      stopped = true
      logger.error({ err: error }, 'the node stops: keep its disk and read the error')
      options.onFatal?.(error)
    }

    const replicator = new RaftReplicator({
      config: {
        id: selfId,
        voters: genesis.cosigners.members.map((member) => toHex(member.peerId)),
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
      persisted: {
        hardState: log.hardState ?? { term: 0, votedFor: undefined, commit: 0 },
        refs: log.refs,
        applied: ledger.appliedIndex,
      },
      group: ledger.group,
      wal,
      clock: systemClock,
      logger,
      send: (to, message, payloads) => void transport.send(to, toPeerHeader(message, ledger.group), payloads),
      onFatal: fatal,
    })

    const transport = createPeerTransport({
      self: { peerId: selfId, tlsSeed: keys.tls },
      cluster,
      members: () => peerMembers(ledger, config),
      listen: config.listen.peers,
      onFrame: (from, header, bodies) => {
        if (header.type === 'cosignatures') {
          replica.peerSignatures(fromHex(from), header)
        } else if (header.type === 'cosignatureRequest') {
          replica.peerConnected()
        } else {
          const message = toRaftMessage(header, from, selfId)
          if (message !== undefined) replicator.receive(message, splitPayloads(message, bodies))
        }
      },
      onStateChange: (peer, connected) => {
        if (connected) replica.peerConnected()
        else replicator.unreachable(peer)
      },
      logger,
      metrics,
    })

    const replica: Replica = new Replica(
      {
        ledger,
        keys,
        replicator,
        verifier: countingVerifier(verifier, metrics),
        trail,
        state,
        logger,
        observer: {
          refused: (code) => metrics.proposalsRefused.inc({ code }),
          applied: ({ verdicts: all, durationMs }) => {
            metrics.proposalsCommitted.inc()
            metrics.applyDuration.observe(durationMs / 1000)
            for (const verdict of all) {
              if (verdict === verdicts.applied) metrics.proposalsApplied.inc()
              else metrics.proposalsRejected.inc({ verdict: verdictName(verdict) })
            }
          },
          treeSize: (size) => metrics.treeSize.set(size),
          published: (size) => metrics.publishedSize.set(size),
        },
        signedHead: await openSignedHead(join(config.dataDir, 'signed-head')),
        crossCheck: crossCheckTree,
        broadcast: (lines) => {
          for (const { peerId } of peerMembers(ledger, config)) {
            transport.send(peerId, { type: 'cosignatures', group: ledger.group, ...lines })
          }
        },
        onFatal: fatal,
        batchIntervalMs: config.tuning.batchIntervalMs ?? genesis.limits.batchIntervalMs,
        idleMarkMs: config.tuning.idleMarkMs,
        pendingProposalsMax,
        admit: options.admit,
        peerAddresses: () => [
          { peerId: selfId, api: apiUrl(), connected: true },
          ...config.peers.map(({ id, api }) => ({ peerId: id, api, connected: transport.connected(id) })),
        ],
        version: nodeVersion,
      },
      await resumed(trail),
    )
    let url = ''
    const apiUrl = (): string => url

    replicator.onLeadershipChange(({ role, leaderId, term }) => {
      metrics.hasLeader.set(leaderId === undefined ? 0 : 1)
      metrics.isLeader.set(role === 'leader' ? 1 : 0)
      metrics.leaderChangesSeen.inc()
      logger.info({ role, leaderId, term }, 'leadership')
    })
    if (created !== undefined) replica.begin(created.leaf, created.closed)
    else replica.resume(ledger.newestBatch(await trail.readEntry(ledger.treeSize - 1)))

    const http = await createHttpServer({ api: replica, config, keys, logger, metrics })
    closing.push(() => http.close())
    url = http.url
    await transport.start()
    closing.push(() => transport.close())
    const ticks = setInterval(() => replicator.tick(), config.tuning.tickMs)
    const running = replica.run().catch(fatal)
    closing.push(async () => {
      clearInterval(ticks)
      stopped = true
      await replica.stop()
      replicator.stop()
      await running
    })
    logger.info({ api: url, peerId: selfId, origin: ledger.origin, treeSize: ledger.treeSize }, 'the node is up')
    return { apiUrl: url, peerId: selfId, replica, metrics, stop: stopAll }
  } catch (error) {
    await stopAll()
    throw error
  }
}

async function readGenesis(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (cause) {
    throw new CipherlogError('ERR_GENESIS_FILE', `Cannot read ${file}; copy the signed genesis of the cluster there.`, {
      cause,
    })
  }
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

/** Replicas of the newest cosigner set that this node knows an address for. */
function peerMembers(ledger: Ledger, config: NodeConfig): PeerMember[] {
  const { members } = ledger.registry.cosignerSets.at(-1)!.set
  return config.peers.flatMap(({ id, address }) => {
    const member = members.find((candidate) => toHex(candidate.peerId) === id)
    return member === undefined ? [] : [{ peerId: id, tlsKey: member.tlsKey, address }]
  })
}

/** Payloads of an append's entries, cut by the lengths its refs state; the transport has checked their sum. */
function splitPayloads(
  message: { readonly type: string; readonly entries?: readonly { readonly bytes: number }[] },
  bodies: Uint8Array,
): Uint8Array[] {
  let at = 0
  return (message.entries ?? []).map(({ bytes }) => {
    const payload = bodies.subarray(at, at + bytes)
    at += bytes
    return payload
  })
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

/** What the trail on disk says was published. */
async function resumed(trail: TrailStore): Promise<Resumed> {
  const note = await trail.checkpoint()
  const chain = await trail.policyChain()
  return {
    publishedSize: note === undefined ? 0 : parseCheckpoint(parseNote(note).text).size,
    transitions:
      chain === undefined
        ? []
        : decode(policyChain, chain)[1].flatMap(({ transitionCheckpoint }): [number, string][] =>
            transitionCheckpoint === undefined
              ? []
              : [[parseCheckpoint(parseNote(transitionCheckpoint).text).size, transitionCheckpoint]],
          ),
  }
}

export type { NodeKeys }
