/** A cluster with an operator, a writer who reads too, and a namespace of each kind that a test asks for. */
import { fileURLToPath } from 'node:url'
import { fromHex, systemRandom } from '@cipherlog/core'
import { suites, type Circuit, type Grant } from '@cipherlog/format'
import { Cipherlog, Keyring, type ConnectOptions, type Identity } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { manifestCircuit, readArtifact, readCircuitManifest } from '@cipherlog/proof/artifacts'
import { startTestCluster, type TestCluster, type TestClusterOptions } from '@cipherlog/testkit/cluster'

export const circuitsDirectory = fileURLToPath(new URL('../../circuits/', import.meta.url))
export const amountCircuit = 'sealed-amount-32'
export const allOperations: Grant['operations'] = ['put', 'delete', 'append', 'add', 'envelope']
export const everything: Grant = { namespaces: '*', operations: allOperations }

/** The development circuits of this repository, as a genesis lists them. */
export async function developmentCircuits(): Promise<Circuit[]> {
  const manifest = await readCircuitManifest(circuitsDirectory)
  const { files } = manifestCircuit(manifest, amountCircuit)
  return [
    {
      id: amountCircuit,
      r1cs: fromHex(files.r1cs.sha256),
      verificationKey: await readArtifact(circuitsDirectory, files.verificationKey),
    },
  ]
}

export interface World {
  readonly cluster: TestCluster
  readonly log: Cipherlog
  readonly operator: Operator
  readonly keyring: Keyring
  readonly identity: Identity
  readonly keysets: { readonly values: Uint8Array; readonly amounts?: Uint8Array; readonly vectors?: Uint8Array }
  /** Another connection to the same cluster. */
  connect(options?: Partial<ConnectOptions>): Promise<Cipherlog>
  close(): Promise<void>
}

export interface WorldOptions extends TestClusterOptions {
  readonly counters?: boolean
  readonly vectors?: boolean
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const { counters = false, vectors = false, ...rest } = options
  const cluster = await startTestCluster({ ...rest, circuits: counters ? await developmentCircuits() : [] })
  const { trustPolicy } = cluster
  const keyring = new Keyring()
  keyring.addNameKey(trustPolicy.cluster, systemRandom)
  const open: Cipherlog[] = []
  const connect = async (more: Partial<ConnectOptions> = {}): Promise<Cipherlog> => {
    const log = await Cipherlog.connect({ endpoints: cluster.endpoints, trustPolicy, keyring, ...more })
    open.push(log)
    return log
  }
  try {
    const setup = await connect()
    const operator = new Operator(setup, { signers: [cluster.operator] })
    const identity = await operator.addClient({ grants: [everything], label: 'writer', keyring })
    const values = await operator.createKeyset({ suite: suites.hpkeXwing, readers: [keyring] })
    await operator.createNamespace({ name: 'orders', machine: 'kv', suite: suites.hpkeXwing, keyset: values.keyset })
    await operator.createNamespace({ name: 'audit', machine: 'log', suite: suites.hpkeXwing, keyset: values.keyset })
    let amounts: Uint8Array | undefined
    if (counters) {
      amounts = (await operator.createKeyset({ suite: suites.elgamalBjj, readers: [keyring] })).keyset
      await operator.createNamespace({
        name: 'revenue',
        machine: 'counter',
        suite: suites.elgamalBjj,
        keyset: amounts,
        circuit: amountCircuit,
      })
    }
    let latencies: Uint8Array | undefined
    if (vectors) {
      latencies = (await operator.createKeyset({ suite: suites.bfv4096, readers: [keyring] })).keyset
      await operator.createNamespace({
        name: 'latency',
        machine: 'vector',
        suite: suites.bfv4096,
        keyset: latencies,
        vector: { length: 8, maxAbs: 1000, maxCount: 1000 },
      })
    }
    const log = await connect({ identity })
    return {
      cluster,
      log,
      operator,
      keyring,
      identity,
      keysets: { values: values.keyset, ...(amounts && { amounts }), ...(latencies && { vectors: latencies }) },
      connect,
      async close() {
        await Promise.all(open.map((each) => each.close()))
        await cluster.stop()
      },
    }
  } catch (error) {
    await Promise.all(open.map((each) => each.close()))
    await cluster.stop()
    throw error
  }
}
