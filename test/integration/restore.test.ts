/**
 * From a stopped replica to a restored cluster: a backup without keys, an audit that rebuilds the state, a group start
 * signed by the operator, a fresh replica with keys of its own, and clients that go on.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { auditTrail, rebuildState } from '@cipherlog/audit'
import { trailDirectory } from '@cipherlog/audit/node'
import { Cipherlog } from '@cipherlog/client'
import { fromHex } from '@cipherlog/core'
import { roles } from '@cipherlog/format'
import { Ledger, type LedgerOptions } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { buildGroupStart, possessionOf, signGroupStart } from '@cipherlog/registry'
import {
  backUp,
  cosignerMemberOf,
  createLogger,
  generateNodeKeys,
  openBackup,
  readNodeKeys,
  startNode,
  writeNodeKeys,
  writeRestoredData,
  type RunningNode,
} from '@cipherlog/server'
import { createWorld, type World } from './world.ts'

const options: LedgerOptions = {
  evaluator: { add: () => Promise.reject(new Error('there are no vectors here')) },
  rootOfBatch,
}

describe('a cluster that is restored from a backup', () => {
  let world: World
  let folder: string
  let node: RunningNode
  const at = (name: string): string => join(folder, name)
  const start = (): Promise<RunningNode> =>
    startNode(
      {
        dataDir: at('data'),
        keysFile: at('node.keys'),
        genesisFile: at('backup/genesis.cbor'),
        listen: { api: { host: '127.0.0.1', port: 0 }, peers: { host: '127.0.0.1', port: 0 } },
        join: false,
        tls: undefined,
        storage: {
          onDamage: 'truncateToLastGood',
          logEntriesMax: 100_000,
          logBytesMax: 268_435_456,
          snapshotBytesPerSecond: 67_108_864,
          scrubBytesPerSecond: 1_048_576,
        },
        peers: [],
        log: { level: 'silent', pretty: false },
        tuning: {
          tickMs: 30,
          heartbeatTicks: 1,
          electionTicks: 10,
          priority: 0,
          leaseMs: 0,
          idleMarkMs: 500,
          proofThreads: 1,
          unappliedCostMsMax: 2000,
        },
      },
      {
        logger: createLogger({ level: 'silent', pretty: false }),
        onFatal: (error) => {
          throw error
        },
      },
    )

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cipherlog-restore-'))
    world = await createWorld({ nodes: 1 })
    await (await world.log.kv('orders').put('kept', { total: 1 })).receipt()
    const [replica] = world.cluster.replicas
    await replica!.stop()

    const { cluster } = world.cluster.trustPolicy
    const { peerId } = await readNodeKeys(join(world.cluster.directory, '1', 'node.keys'))
    const contents = await backUp({ dataDir: replica!.dataDirectory, cluster, peerId, to: at('backup') })
    expect(contents).toMatchObject({ envelopes: 1, olderGenerations: [] })
    await expect(backUp({ dataDir: replica!.dataDirectory, cluster, peerId, to: at('backup') })).rejects.toMatchObject({
      code: 'ERR_BACKUP_FOLDER',
    })

    const backup = await openBackup(at('backup'))
    const { trustPolicy } = world.cluster
    const rebuilt = await rebuildState(trailDirectory(backup.trail), { trustPolicy, wrapsOf: backup.wrapsOf })
    expect(rebuilt.report).toMatchObject({ valid: true, complete: true, treeSize: contents.treeSize })
    const state = rebuilt.state!
    const old = (await Ledger.open(state, options))!
    const keys = generateNodeKeys()
    const startBytes = buildGroupStart({
      log: { ...old, cluster, origin: old.origin, operatorSetVersion: 0 },
      end: { treeSize: old.treeSize, rootHash: fromHex(rebuilt.report.rootHash!) },
      registryHead: old.registry.head,
      cosigners: { members: [cosignerMemberOf(keys)], quorum: 1 },
      possessions: [[0, possessionOf(keys.answer, roles.answer, cluster)]],
      startedAt: Math.max(Date.now(), old.logTime),
    })
    const signed = signGroupStart(startBytes, [world.cluster.operator])
    const { leaf, closed } = await Ledger.startGeneration(state, signed, rebuilt.policyChain!, options)
    const olderTrails = [...backup.olderTrails, { generation: 0, path: backup.trail }]
    const parts = { cluster, peerId: keys.peerId, started: { state, leaf, closed }, olderTrails }
    await writeRestoredData({ dataDir: at('data'), ...parts })
    await expect(writeRestoredData({ dataDir: at('data'), ...parts })).rejects.toMatchObject({
      code: 'ERR_DATA_DIR_USED',
    })

    await writeNodeKeys(at('node.keys'), keys)
    node = await start()
  })
  afterAll(async () => {
    await node?.stop()
    await world?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('holds no key and no signed head in its backup', async () => {
    expect((await readdir(at('backup'))).sort()).toEqual(['envelopes', 'genesis.cbor', 'trail'])
    const files = await readdir(at('backup/trail'), { recursive: true })
    expect(files.filter((name) => /key|signed|wal|lock/.test(name))).toEqual([])
  })

  test('serves what was written before, proven in the old tree, takes new commands, and audits end to end', async () => {
    const { trustPolicy } = world.cluster
    const log = await Cipherlog.connect({ endpoints: [node.apiUrl], trustPolicy, keyring: world.keyring })
    try {
      expect(log.origin.endsWith('/1')).toBe(true)
      const kept = await log.kv('orders').get('kept')
      expect(kept).toMatchObject({ value: { total: 1 } })
      expect(kept!.position).toMatch(/\/0#\d+\.\d+$/)
      const done = await log.kv('orders').put('kept', { total: 2 })
      await done.receipt()
      expect(await log.kv('orders').get('kept')).toMatchObject({ value: { total: 2 }, position: done.position })
    } finally {
      await log.close()
    }
    const report = await auditTrail(trailDirectory(at('data/trail')), {
      trustPolicy,
      olderGenerations: [trailDirectory(at('data/trail-0'))],
    })
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({ valid: true, complete: true })
  })

  test('starts again where it stopped', async () => {
    const { treeSize } = node.replica.status()
    expect(treeSize).toBeGreaterThan(2)
    await node.stop()
    node = await start()
    expect(node.replica.status()).toMatchObject({ generation: 1, treeSize })
  })
})
