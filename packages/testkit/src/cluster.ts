/**
 * A cluster for applications' tests, in one process: real replicas, real files in a fresh folder, real sockets on
 * loopback. The one place where SDK and nodes may share a process; servers in production are executables of their
 * own (`cipherlog-node`), which load no module that can decrypt.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemRandom, toHex } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import { group0, modes, type Circuit, type Limits, type TrustPolicy } from '@cipherlog/format'
import { majorityOf, signGenesis, clusterOf, type OperatorSigner } from '@cipherlog/registry'
import {
  cosignerMemberOf,
  createLogger,
  generateNodeKeys,
  startNode,
  writeNodeKeys,
  type NodeConfig,
  type NodeOptions,
  type RunningNode,
} from '@cipherlog/server'

/** Limits of a test cluster; DESIGN's defaults. */
export const testLimits: Limits = {
  sessionsPerClientMax: 16,
  bundleBytesMax: 1_048_576,
  bodiesBytesMax: 8_388_608,
  slicesPerCellMax: 16,
  maxClockErrorMs: 500,
  batchIntervalMs: 80,
  snapshotEveryLeaves: 50_000,
}

export interface TestClusterOptions {
  /** Replicas, 1 to 7; default 1. */
  readonly nodes?: number
  /** Circuits of the genesis; none: no counters. */
  readonly circuits?: readonly Circuit[]
  /** Default: a fresh folder, removed by `stop`. */
  readonly directory?: string
  readonly limits?: Partial<Limits>
  /** Passed to each replica, such as a faulty admission. */
  readonly nodeOptions?: Pick<NodeOptions, 'admit'>
}

export interface TestCluster {
  readonly directory: string
  /** Base URLs of the replicas that run. */
  readonly endpoints: string[]
  readonly trustPolicy: TrustPolicy
  /** Signs key events. */
  readonly operator: OperatorSigner
  readonly replicas: readonly TestReplica[]
  /** Stops all, and removes the folder if the cluster made it. */
  stop(): Promise<void>
}

export interface TestReplica {
  readonly dataDirectory: string
  readonly trailDirectory: string
  /** Undefined while it is stopped. */
  readonly node: RunningNode | undefined
  stop(): Promise<void>
  start(): Promise<void>
}

/** Starts a cluster and waits until a replica leads and has published its genesis. */
export async function startTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const { nodes: count = 1, circuits = [], limits = {}, nodeOptions = {} } = options
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'cipherlog-test-')))
  const operatorKey = generateSigningKey(systemRandom)
  const keys = Array.from({ length: count }, () => generateNodeKeys())
  const genesis = {
    version: 1 as const,
    createdAt: Date.now(),
    mode: modes.development,
    name: 'test.example/cluster',
    rulesVersion: 1,
    limits: { ...testLimits, ...limits },
    operators: { threshold: 1, keys: [operatorKey.publicKey] },
    cosigners: { members: keys.map(cosignerMemberOf), quorum: majorityOf(count) },
    circuits: [...circuits],
  }
  const genesisFile = join(directory, 'genesis.cbor')
  await writeFile(genesisFile, signGenesis(genesis, [operatorKey.secretKey, ...keys.map(({ answer }) => answer)]))

  const ports = await freePorts(count * 2)
  const address = (port: number): { host: string; port: number } => ({ host: '127.0.0.1', port })
  const configs: NodeConfig[] = []
  for (const [i, nodeKeys] of keys.entries()) {
    const folder = join(directory, String(i + 1))
    await mkdir(folder)
    await writeNodeKeys(join(folder, 'node.keys'), nodeKeys)
    configs.push({
      dataDir: join(folder, 'data'),
      keysFile: join(folder, 'node.keys'),
      genesisFile,
      listen: { api: address(ports[i]!), peers: address(ports[count + i]!) },
      join: false,
      tls: undefined,
      storage: {
        onDamage: 'truncateToLastGood',
        logEntriesMax: 100_000,
        logBytesMax: 268_435_456,
        snapshotBytesPerSecond: 67_108_864,
        scrubBytesPerSecond: 1_048_576,
      },
      peers: keys.flatMap((other, j) =>
        j === i
          ? []
          : [{ id: toHex(other.peerId), address: address(ports[count + j]!), api: `https://127.0.0.1:${ports[j]!}` }],
      ),
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
    })
  }

  const replicas = configs.map((config) => new Replica(config, nodeOptions))
  const stop = async (): Promise<void> => {
    await Promise.all(replicas.map((replica) => replica.stop()))
    if (options.directory === undefined) await rm(directory, { recursive: true, force: true })
  }
  try {
    await Promise.all(replicas.map((replica) => replica.start()))
    await ready(replicas)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    directory,
    get endpoints() {
      return replicas.flatMap(({ node }) => (node === undefined ? [] : [node.apiUrl]))
    },
    trustPolicy: {
      version: 1,
      cluster: clusterOf(genesis),
      group: group0,
      generation: 0,
      witnesses: [],
      witnessesRequired: 0,
    },
    operator: { index: 0, secretKey: operatorKey.secretKey },
    replicas,
    stop,
  }
}

class Replica implements TestReplica {
  readonly #config: NodeConfig
  readonly #options: Pick<NodeOptions, 'admit'>
  node: RunningNode | undefined

  constructor(config: NodeConfig, options: Pick<NodeOptions, 'admit'>) {
    this.#config = config
    this.#options = options
  }

  get dataDirectory(): string {
    return this.#config.dataDir
  }
  get trailDirectory(): string {
    return join(this.#config.dataDir, 'trail')
  }

  async start(): Promise<void> {
    const logger = createLogger({ level: 'silent', pretty: false })
    this.node = await startNode(this.#config, {
      ...this.#options,
      logger,
      // A test must see why its cluster broke.
      onFatal: (error) => {
        throw error
      },
    })
  }

  async stop(): Promise<void> {
    const { node } = this
    this.node = undefined
    await node?.stop()
  }
}

async function ready(replicas: readonly Replica[]): Promise<void> {
  const deadline = Date.now() + 30_000
  const isReady = (): boolean =>
    replicas.some(({ node }) => node?.replica.status().role === 'leader') &&
    replicas.every(({ node }) => (node?.replica.status().publishedSize ?? 0) >= 2)
  while (!isReady()) {
    if (Date.now() > deadline) throw new Error('The test cluster did not come up in 30 s.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
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
