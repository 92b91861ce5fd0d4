/**
 * A cluster that lost its replicas goes on from a backup, as the next generation (docs/OPERATIONS.md "Backup and
 * restore"): the backup is audited, its state rebuilt, a group start signed by the operators, and every node made anew
 * with keys that have signed nothing.
 *
 * What there was of the nodes before is set aside, never used: its keys have promised things that the backup forgot.
 */
import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rebuildState, type AuditProgress } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import { openKeyringFile } from '@cipherlog/client'
import { CipherlogError, equalBytes, fromHex, toHex } from '@cipherlog/core'
import { roles, type NodeKeys } from '@cipherlog/format'
import { Ledger } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { buildGroupStart, majorityOf, possessionOf, signGroupStart } from '@cipherlog/registry'
import { cosignerMemberOf, generateNodeKeys, openBackup, writeRestoredData } from '@cipherlog/server'
import { freePorts } from './free-ports.ts'
import { clusterFiles, nodeFiles } from './layout.ts'
import { apiUrl, peersAddress, writeNodeFiles } from './node-files.ts'
import { formatProfile, type Profile } from './profile.ts'
import { readTrustPolicy } from './trust-policy.ts'

export interface RestoreOptions {
  /** Folder of the backup. */
  readonly backup: string
  /** Replicas of the new generation. */
  readonly nodes: number
  readonly passphrase: string
  readonly onProgress: (progress: AuditProgress) => void
}

export interface Restored {
  readonly generation: number
  /** Leaves that the backup had. */
  readonly treeSize: number
  readonly endpoints: readonly string[]
  /** Where the nodes from before are now, if there were any. */
  readonly setAside: string | undefined
}

/**
 * Restores the cluster of a profile.
 * @throws CipherlogError `ERR_BACKUP_*`, `ERR_AUDIT_INVALID` if the backup does not verify, `ERR_KEY_MISSING` without
 * enough operator keys in the keyring, `ERR_PASSPHRASE`.
 */
export async function restoreCluster(profile: Profile, options: RestoreOptions): Promise<Restored> {
  const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
  const keyring = await openKeyringFile(profile.keyringFile, { passphrase: options.passphrase })
  const { state, report, policyChain, backup } = await rebuild(options, trustPolicy)
  const ledgerOptions = { evaluator: noEvaluator, rootOfBatch }
  const old = await Ledger.open(state, ledgerOptions)
  if (old === undefined) throw new CipherlogError('ERR_AUDIT_INVALID', 'The backup holds no log.')
  const { registry } = old
  const signers = keyring.operators(registry.cluster).slice(0, registry.operators.threshold)
  if (signers.length < registry.operators.threshold) {
    const message = `A group start needs ${registry.operators.threshold} operator keys, the keyring has ${signers.length}.`
    throw new CipherlogError('ERR_KEY_MISSING', message)
  }
  const keys = Array.from({ length: options.nodes }, () => generateNodeKeys())
  const startBytes = buildGroupStart({
    log: {
      cluster: registry.cluster,
      group: old.group,
      generation: old.generation,
      origin: old.origin,
      operatorSetVersion: registry.operatorSetVersion,
    },
    end: { treeSize: old.treeSize, rootHash: fromHex(report.rootHash!) },
    registryHead: registry.head,
    cosigners: { members: keys.map(cosignerMemberOf), quorum: majorityOf(keys.length) },
    possessions: keys.map(({ answer }, i) => [i, possessionOf(answer, roles.answer, registry.cluster)]),
    startedAt: Math.max(Date.now(), old.logTime),
  })
  const { ledger, leaf, closed } = await Ledger.startGeneration(
    state,
    signGroupStart(startBytes, signers),
    policyChain,
    ledgerOptions,
  )
  const setAside = await setNodesAside(profile.directory, old.generation)
  const endpoints = await writeNodes(profile, keys)
  const olderTrails = [...backup.olderTrails, { generation: old.generation, path: backup.trail }]
  for (const [i, { peerId }] of keys.entries()) {
    const dataDir = join(nodeFiles(profile.directory, i + 1).directory, 'data')
    const started = { state, leaf, closed }
    await writeRestoredData({ dataDir, cluster: registry.cluster, peerId, started, olderTrails })
  }
  await writeFile(join(profile.directory, clusterFiles.profile), formatProfile({ ...profile, endpoints }))
  return { generation: ledger.generation, treeSize: report.treeSize, endpoints, setAside }
}

async function rebuild(
  { backup: folder, onProgress }: RestoreOptions,
  trustPolicy: Awaited<ReturnType<typeof readTrustPolicy>>,
) {
  const backup = await openBackup(folder)
  const verifier = await createWorkerVerifier({ threads: 2 })
  try {
    const { report, state, policyChain } = await rebuildState(trailDirectory(backup.trail), {
      trustPolicy,
      verifier,
      wrapsOf: backup.wrapsOf,
      olderGenerations: backup.olderTrails.map(({ path }) => trailDirectory(path)),
      onProgress,
    })
    if (state === undefined || policyChain === undefined) {
      const [first] = report.problems
      const why = first === undefined ? 'it is not complete' : `${first.where}: ${first.message}`
      throw new CipherlogError('ERR_AUDIT_INVALID', `The backup in ${folder} cannot be restored: ${why}`)
    }
    if (report.cluster !== undefined && !equalBytes(fromHex(report.cluster), trustPolicy.cluster)) {
      throw new CipherlogError('ERR_AUDIT_INVALID', `The backup in ${folder} is of another cluster.`)
    }
    return { backup, report, state, policyChain }
  } finally {
    await verifier.close()
  }
}

/** A group start adds nothing to a sum. */
const noEvaluator = {
  add: () => Promise.reject(new Error('nothing is added while a cluster is restored')),
}

async function setNodesAside(directory: string, generation: number): Promise<string | undefined> {
  const nodes = join(directory, 'nodes')
  const aside = `${nodes}.${generation}`
  try {
    await access(nodes)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  await rename(nodes, aside)
  return aside
}

async function writeNodes(profile: Profile, keys: readonly NodeKeys[]): Promise<string[]> {
  const ports = await freePorts(2 * keys.length)
  const plans = keys.map((own, i) => ({ keys: own, api: ports[i]!, peers: ports[keys.length + i]! }))
  await mkdir(join(profile.directory, 'nodes'), { recursive: true })
  for (const [i, plan] of plans.entries()) {
    const others = plans
      .filter((other) => other !== plan)
      .map((other) => ({
        peerId: toHex(other.keys.peerId),
        peers: peersAddress(other.peers),
        api: apiUrl(other.api),
      }))
    await writeNodeFiles(profile.directory, i + 1, { ...plan, others, join: false })
  }
  return plans.map(({ api }) => apiUrl(api))
}
