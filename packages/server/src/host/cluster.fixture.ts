/**
 * A cluster of nodes in this process: real files, real sockets, keys and an operator. Members come and go: each node
 * has its folder, and one that joins has an empty one.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemRandom, toHex, type Logger } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import { entryKinds, modes, roles, type Genesis, type KeyOperation, type NodeKeys } from '@cipherlog/format'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import {
  buildKeyEvent,
  clusterOf,
  majorityOf,
  positionAfter,
  possessionOf,
  signGenesis,
  signKeyEvent,
  type ChainPosition,
} from '@cipherlog/registry'
import { appliedOf } from '../pipeline/cluster.fixture.ts'
import { until } from '../pipeline/replica.fixture.ts'
import { connectCluster, type ClusterClient } from './cluster-client.ts'
import { type NodeConfig } from './config.ts'
import { cosignerMemberOf, generateNodeKeys, writeNodeKeys } from './keys.ts'
import { startNode, type NodeOptions, type RunningNode } from './node.ts'

export interface NodePlace {
  readonly keys: NodeKeys
  readonly id: string
  readonly folder: string
  readonly api: number
  readonly peers: number
}

export class NodeCluster {
  readonly folder: string
  readonly genesis: Genesis
  readonly places: NodePlace[]
  readonly running = new Map<string, RunningNode>()
  readonly faults: unknown[] = []
  /** The signed bytes of the key event made last. */
  lastEvent: Uint8Array = new Uint8Array(0)
  readonly #operator: ReturnType<typeof generateSigningKey>
  #position: ChainPosition

  private constructor(
    folder: string,
    genesis: Genesis,
    places: NodePlace[],
    operator: ReturnType<typeof generateSigningKey>,
  ) {
    this.folder = folder
    this.genesis = genesis
    this.places = places
    this.#operator = operator
    const cluster = clusterOf(genesis)
    this.#position = { cluster, operatorSetVersion: 0, head: { number: 0, digest: cluster } }
  }

  /** @param limits - such as how often snapshots are taken. */
  static async create(replicas: number, limits: Partial<Genesis['limits']> = {}): Promise<NodeCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'cipherlog-members-'))
    const places = await placesIn(folder, replicas, 0)
    const operator = generateSigningKey(systemRandom)
    const genesis: Genesis = {
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
        batchIntervalMs: 20,
        snapshotEveryLeaves: 1_000_000,
        ...limits,
      },
      operators: { threshold: 1, keys: [operator.publicKey] },
      cosigners: { members: places.map(({ keys }) => cosignerMemberOf(keys)), quorum: majorityOf(replicas) },
      circuits: [],
    }
    const signed = signGenesis(genesis, [operator.secretKey, ...places.map(({ keys }) => keys.answer)])
    await writeFile(join(folder, 'genesis'), signed)
    return new NodeCluster(folder, genesis, places, operator)
  }

  /** Keys and a folder for a replica that was not there at genesis. */
  async newPlace(): Promise<NodePlace> {
    const [place] = await placesIn(this.folder, 1, this.places.length)
    this.places.push(place!)
    return place!
  }

  async start(place: NodePlace, changes: Partial<NodeConfig> = {}, options: NodeOptions = {}): Promise<RunningNode> {
    const node = await startNode(this.config(place, changes), {
      logger: { ...(process.env['TEST_LOG'] === undefined ? silentLogger : consoleLogger(place.id)), setLevel() {} },
      onFatal: (error) => this.faults.push(error),
      ...options,
    })
    this.running.set(place.id, node)
    return node
  }

  async startAll(changes: Partial<NodeConfig> = {}): Promise<void> {
    for (const place of this.places) await this.start(place, changes)
  }

  config(place: NodePlace, changes: Partial<NodeConfig> = {}): NodeConfig {
    const address = (port: number) => ({ host: '127.0.0.1', port })
    return {
      dataDir: join(place.folder, 'data'),
      keysFile: join(place.folder, 'keys'),
      genesisFile: join(this.folder, 'genesis'),
      join: false,
      listen: { api: address(place.api), peers: address(place.peers) },
      tls: undefined,
      // Those of the genesis; addresses of others come with the log.
      peers: this.places
        .slice(0, this.genesis.cosigners.members.length)
        .filter(({ id }) => id !== place.id)
        .map(({ id, peers, api }) => ({ id, address: address(peers), api: `https://127.0.0.1:${api}` })),
      storage: {
        onDamage: 'truncateToLastGood',
        logEntriesMax: 8,
        logBytesMax: 268_435_456,
        snapshotBytesPerSecond: 67_108_864,
        scrubBytesPerSecond: 1_048_576,
      },
      log: { level: 'silent', pretty: false },
      tuning: {
        tickMs: 20,
        heartbeatTicks: 1,
        electionTicks: 10,
        priority: 0,
        leaseMs: 0,
        idleMarkMs: 100,
        proofThreads: 1,
        unappliedCostMsMax: 2000,
      },
      ...changes,
    }
  }

  get leader(): RunningNode | undefined {
    return [...this.running.values()].find(({ replica }) => replica.status().role === 'leader')
  }

  /** Who leads, once it has applied an entry of its term. */
  async ready(): Promise<RunningNode> {
    await until(() => {
      const since = this.leader?.member.replicator.leadingSince()
      return since !== undefined && this.leader!.replica.status().appliedIndex >= since
    }, 'somebody leads')
    return this.leader!
  }

  /** The next key event, applied; the position of its leaf. */
  async event(operation: KeyOperation, receipt = false): Promise<number> {
    const leader = await this.ready()
    await until(
      () => leader.replica.status().publishedSize > 2 || leader.replica.status().treeSize === 2,
      'it publishes',
    )
    const { size: treeSize, rootHash } = parseCheckpoint(parseNote((await leader.replica.checkpoint()).checkpoint).text)
    const bytes = buildKeyEvent({
      after: this.#position,
      seen: { treeSize, rootHash },
      notAfter: Date.now() + 600_000,
      operation,
    })
    const signed = signKeyEvent(bytes, [{ index: 0, secretKey: this.#operator.secretKey }])
    this.lastEvent = signed
    const proposal = { kind: entryKinds.keyEvent, signed, body: new Uint8Array(0), receipt }
    const { leaf } = appliedOf(await leader.replica.propose(proposal))
    this.#position = positionAfter(bytes)
    return leaf
  }

  /** A leaf more. */
  addClient(receipt = false): Promise<number> {
    const client = generateSigningKey(systemRandom)
    const possession = possessionOf(client.secretKey, roles.client, this.#position.cluster)
    const operation = {
      type: 'addClient',
      client: systemRandom.bytes(16),
      publicKey: client.publicKey,
      possession,
      grants: [],
    } as const
    return this.event({ ...operation, grants: [] }, receipt)
  }

  /** Batches of one leaf each, published. */
  async addLeaves(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const leaf = await this.addClient(true)
      await this.leader?.replica.receipt(leaf, 5000)
    }
  }

  /** Operators list these replicas, and no others, as cosigners. */
  async setCosigners(places: readonly NodePlace[]): Promise<void> {
    const leaf = await this.event(
      {
        type: 'cosignerSet',
        set: { members: places.map(({ keys }) => cosignerMemberOf(keys)), quorum: majorityOf(places.length) },
        possessions: places.map(({ keys }, i) => [i, possessionOf(keys.answer, roles.answer, this.#position.cluster)]),
      },
      true,
    )
    await (await this.ready()).replica.receipt(leaf, 5000)
  }

  /** The cluster service of a node, called with the keys of `as`. */
  client(place: NodePlace, as: NodePlace = place): Promise<ClusterClient> {
    return connectCluster({
      address: { host: '127.0.0.1', port: place.peers },
      keys: as.keys,
      accept: this.places.map(({ keys }) => cosignerMemberOf(keys).tlsKey),
    })
  }

  /** Of whoever leads. */
  async leaderClient(): Promise<ClusterClient> {
    const { peerId } = await this.ready()
    return this.client(this.places.find(({ id }) => id === peerId)!)
  }

  addressOf({ id, api, peers }: NodePlace) {
    return { peerId: id, peers: `127.0.0.1:${peers}`, api: `https://127.0.0.1:${api}` }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.running.values()].map((node) => node.stop()))
    await rm(this.folder, { recursive: true })
  }
}

function consoleLogger(id: string): Logger {
  const line = (level: string) => (fields: object, message: string) =>
    console.log(
      id.slice(0, 4),
      level,
      message,
      JSON.stringify(fields, (_key, value: unknown) =>
        value instanceof Uint8Array ? `<${value.length}>` : value instanceof Error ? String(value.stack) : value,
      ),
    )
  return { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error') }
}

async function placesIn(folder: string, count: number, from: number): Promise<NodePlace[]> {
  const ports = await freePorts(2 * count)
  return Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const keys = generateNodeKeys()
      const place = join(folder, String(from + i + 1))
      await mkdir(place)
      await writeNodeKeys(join(place, 'keys'), keys)
      return { keys, id: toHex(keys.peerId), folder: place, api: ports[2 * i]!, peers: ports[2 * i + 1]! }
    }),
  )
}

/** Ports that nobody listens on at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer().on('error', reject)
          server.listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
