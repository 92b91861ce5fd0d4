/**
 * The system under test: three `cipherlog-node` processes (one in a quick run) with default settings on this machine,
 * and the SDK in this process.
 */
import { randomUUID } from 'node:crypto'
import {
  connectAs,
  createCluster,
  listNodes,
  readTrustPolicy,
  registerOwnClient,
  startNodes,
  stopNodes,
  type NodeFiles,
  type NodeProcess,
  type Profile,
} from '@cipherlog/cli/cluster'
import { inMemory, type Cipherlog } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { suites, type TrustPolicy } from '@cipherlog/format'
import { type BenchContext } from './bench.ts'

export const namespace = 'bench/values'

export class SealedCluster {
  readonly nodes: readonly NodeFiles[]
  readonly trustPolicy: TrustPolicy
  readonly #profile: Profile
  readonly #passphrase: string
  /** Kept from the moment they are being started, so that no node outlives an interruption. */
  #nodes: Promise<NodeProcess[]> | undefined
  #pids: readonly number[] = []
  #log: Cipherlog | undefined

  private constructor(
    profile: Profile,
    passphrase: string,
    more: { nodes: readonly NodeFiles[]; trustPolicy: TrustPolicy },
  ) {
    this.#profile = profile
    this.#passphrase = passphrase
    this.nodes = more.nodes
    this.trustPolicy = more.trustPolicy
  }

  /** A running cluster with a kv namespace in which one value was put. Whoever owns `scope` stops it. */
  static async create(
    directory: string,
    { scope, quick }: Pick<BenchContext, 'scope' | 'quick'>,
  ): Promise<SealedCluster> {
    const passphrase = randomUUID()
    const profile = await createCluster(directory, { name: 'bench.example', nodes: quick ? 1 : 3, passphrase })
    const nodes = await listNodes(directory)
    const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
    const cluster = new SealedCluster(profile, passphrase, { nodes, trustPolicy })
    scope.defer(() => cluster.stop())
    const log = await cluster.start()
    await registerOwnClient(log)
    const operator = new Operator(log)
    const { keyset } = await operator.createKeyset({ suite: suites.hpkeXwing, readers: [log.keyring] })
    await operator.createNamespace({ name: namespace, machine: 'kv', suite: suites.hpkeXwing, keyset })
    // Opens the session and puts the content key's envelope on the log.
    await (await log.kv(namespace).put('first', null)).receipt()
    return cluster
  }

  get log(): Cipherlog {
    if (this.#log === undefined) throw new Error('the cluster is stopped')
    return this.#log
  }

  get pids(): readonly number[] {
    return this.#pids
  }

  async start(): Promise<Cipherlog> {
    this.#nodes = startNodes(this.nodes)
    this.#pids = (await this.#nodes).map(({ pid }) => pid)
    this.#log = await connectAs(this.#profile, this.#passphrase, { memory: inMemory() })
    return this.#log
  }

  async stop(): Promise<void> {
    await this.#log?.close()
    this.#log = undefined
    // Nodes that could not be started were stopped by who tried.
    const running = (await this.#nodes?.catch(() => undefined)) ?? []
    this.#nodes = undefined
    await stopNodes(running)
  }
}
