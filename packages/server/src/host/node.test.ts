import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode, InvariantViolation, silentLogger, systemRandom, toHex } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import { entryKinds, group0, modes, roles, type Genesis, type NodeKeys } from '@cipherlog/format'
import { origin, parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { type Proposal } from '@cipherlog/machine'
import { buildKeyEvent, clusterOf, majorityOf, possessionOf, signGenesis, signKeyEvent } from '@cipherlog/registry'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { signLines } from '../pipeline/cosignatures.ts'
import { until } from '../pipeline/replica.fixture.ts'
import { appliedOf, opaque } from '../pipeline/cluster.fixture.ts'
import { type NodeConfig } from './config.ts'
import { cosignerMemberOf, generateNodeKeys, writeNodeKeys } from './keys.ts'
import { createLogger } from './logging.ts'
import { startNode, type NodeOptions, type RunningNode } from './node.ts'
import { createPeerTransport, type PeerTransport } from './peers.ts'

const logger = createLogger({ level: 'silent', pretty: false })
const operator = generateSigningKey(systemRandom)
const anyPort = { host: '127.0.0.1', port: 0 }

describe('startNode()', () => {
  let folder: string
  let keys: NodeKeys[]
  let genesis: Genesis
  const running: { stop(): Promise<void> }[] = []
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cipherlog-node-'))
  })
  afterEach(async () => {
    for (const each of running.splice(0)) await each.stop()
    await rm(folder, { recursive: true })
  })

  async function cluster(replicas: number): Promise<void> {
    keys = Array.from({ length: replicas }, () => generateNodeKeys())
    genesis = {
      version: 1,
      createdAt: Date.now(),
      mode: modes.development,
      name: 'test.example',
      rulesVersion: 1,
      limits: {
        sessionsPerClientMax: 16,
        bundleBytesMax: 1_048_576,
        bodiesBytesMax: 8_388_608,
        slicesPerCellMax: 16,
        maxClockErrorMs: 500,
        batchIntervalMs: 80,
        snapshotEveryLeaves: 50_000,
      },
      operators: { threshold: 1, keys: [operator.publicKey] },
      cosigners: { members: keys.map(cosignerMemberOf), quorum: majorityOf(replicas) },
      circuits: [],
    }
    await writeFile(
      join(folder, 'genesis'),
      signGenesis(genesis, [operator.secretKey, ...keys.map(({ answer }) => answer)]),
    )
    await writeNodeKeys(join(folder, 'keys'), keys[0]!)
  }
  /** The first key event. */
  async function addClient(node: RunningNode): Promise<Proposal> {
    const { size: treeSize, rootHash } = parseCheckpoint(parseNote((await node.replica.checkpoint()).checkpoint).text)
    const id = clusterOf(genesis)
    const client = generateSigningKey(systemRandom)
    const bytes = buildKeyEvent({
      after: { cluster: id, operatorSetVersion: 0, head: { number: 0, digest: id } },
      seen: { treeSize, rootHash },
      notAfter: Date.now() + 60_000,
      operation: {
        type: 'addClient',
        client: systemRandom.bytes(16),
        publicKey: client.publicKey,
        possession: possessionOf(client.secretKey, roles.client, id),
        grants: [],
      },
    })
    const signed = signKeyEvent(bytes, [{ index: 0, secretKey: operator.secretKey }])
    return { kind: entryKinds.keyEvent, signed, body: new Uint8Array(0) }
  }
  const config = (changes: Partial<NodeConfig> = {}): NodeConfig => ({
    dataDir: join(folder, 'data'),
    keysFile: join(folder, 'keys'),
    genesisFile: join(folder, 'genesis'),
    listen: { api: anyPort, peers: anyPort },
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
      tickMs: 10,
      heartbeatTicks: 1,
      electionTicks: 10,
      priority: 0,
      leaseMs: 0,
      idleMarkMs: 100,
      proofThreads: 1,
      unappliedCostMsMax: 200,
    },
    ...changes,
  })
  async function start(changes: Partial<NodeConfig> = {}, options: NodeOptions = {}): Promise<RunningNode> {
    const node = await startNode(config(changes), { logger, ...options })
    running.push(node)
    return node
  }
  const failure = (changes: Partial<NodeConfig> = {}): Promise<string | undefined> =>
    start(changes).then(
      () => undefined,
      (error: unknown) => errorCode(error) ?? String(error),
    )

  it('publishes its genesis alone, stops, and goes on where it was', async () => {
    await cluster(1)
    const node = await start()
    await until(() => node.replica.status().publishedSize === 2, 'the genesis is published')
    const before = await node.replica.checkpoint()
    await node.stop()
    const again = await start()
    expect(again.replica.status()).toMatchObject({ treeSize: 2, publishedSize: 2 })
    const after = await again.replica.checkpoint()
    const rootOf = (note: string): string => toHex(parseCheckpoint(parseNote(note).text).rootHash)
    expect(rootOf(after.checkpoint)).toBe(rootOf(before.checkpoint))
    // One change of leader, however many of role led to it.
    await until(() => again.replica.status().role === 'leader', 'it leads')
    expect((await again.metrics.leaderChangesSeen.get()).values[0]!.value).toBe(1)
    expect((await again.metrics.publishedSize.get()).values[0]!.value).toBe(2)
  })

  it('signs again while it starts what it signed last, though it has no connections yet', async () => {
    await cluster(2)
    const nowhere = { host: '127.0.0.1', port: 1 }
    const peers = [{ id: toHex(keys[1]!.peerId), address: nowhere, api: 'https://127.0.0.1:1' }]
    // It signs its genesis at the latest before it stops.
    await (await start({ peers })).stop()
    const faults: unknown[] = []
    const again = await start({ peers }, { onFatal: (error) => faults.push(error) })
    expect(again.replica.status()).toMatchObject({ treeSize: 2 })
    expect(faults).toEqual([])
  })

  it('refuses keys that the genesis does not list, wherever they differ', async () => {
    await cluster(1)
    for (const change of [
      { peerId: generateNodeKeys().peerId },
      { cosigner: opaque('x', 32) },
      { tls: opaque('x', 32) },
    ]) {
      const file = join(folder, `keys ${Object.keys(change)[0]}`)
      await writeNodeKeys(file, { ...keys[0]!, ...change })
      expect(await failure({ keysFile: file })).toBe('ERR_NOT_A_MEMBER')
    }
    expect(await readdir(folder)).not.toContain('data')
  })

  it('does not sign any more when it lost what it signed, nor vote when it lost its log', async () => {
    await cluster(1)
    const node = await start()
    await until(() => node.replica.status().role === 'leader' && node.replica.status().publishedSize === 2, 'it is up')
    const { leaf } = appliedOf(await node.replica.propose({ ...(await addClient(node)), receipt: true }))
    await node.replica.receipt(leaf, 5000)
    await node.stop()
    const data = join(folder, 'data')
    await rename(join(data, 'signed-head'), join(folder, 'kept'))
    expect(await failure()).toBe('ERR_SIGNED_HEAD')
    await rename(join(folder, 'kept'), join(data, 'signed-head'))
    await rm(join(data, 'wal'), { recursive: true })
    await mkdir(join(data, 'wal'))
    expect(await failure()).toBe('ERR_WAL_LOST')
  })

  it('halts when peers prove that a quorum signed another tree, says why, and closes', async () => {
    await cluster(3)
    const faults: unknown[] = []
    const node = await start(
      {
        peers: keys.slice(1).map(({ peerId }) => ({ id: toHex(peerId), address: anyPort, api: 'https://127.0.0.1:1' })),
      },
      { onFatal: (error) => faults.push(error) },
    )
    const names = {
      origin: origin({ name: genesis.name, cluster: clusterOf(genesis), group: group0, generation: 0 }),
      clusterName: genesis.name,
    }
    await until(() => node.replica.status().treeSize === 2, 'it has the genesis')
    const address = node.peersAddress
    const liars = keys.slice(1).map((own): PeerTransport => {
      const transport = createPeerTransport({
        self: { peerId: toHex(own.peerId), tlsSeed: own.tls },
        cluster: clusterOf(genesis),
        members: () => [{ peerId: toHex(keys[0]!.peerId), tlsKey: cosignerMemberOf(keys[0]!).tlsKey, address }],
        listen: anyPort,
        onFrame: () => {},
        onStateChange: (peer, connected) => {
          if (!connected) return
          const self = { peerId: own.peerId, logKey: own.log, cosignerKey: own.cosigner }
          const lines = signLines(names, self, { size: 2, rootHash: opaque('another tree', 32) }, 1)
          transport.send(peer, { type: 'cosignatures', group: group0, ...lines })
        },
        logger: silentLogger,
      })
      return transport
    })
    for (const liar of liars) {
      await liar.start()
      running.push({ stop: () => liar.close() })
    }
    await until(() => faults.length > 0, 'it halts')
    expect(faults).toHaveLength(1)
    expect(faults[0]).toBeInstanceOf(InvariantViolation)
    expect((faults[0] as InvariantViolation).details['notes']).toHaveLength(2)
    expect(node.replica.ready()).toMatchObject({ ok: false })
    await node.stop()
    await expect(fetch(node.apiUrl)).rejects.toThrow()
  })
})
