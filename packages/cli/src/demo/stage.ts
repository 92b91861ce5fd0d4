/**
 * Where the tamper demonstration takes place: the cluster of a directory, started for the occasion if it does not
 * run, or a temporary one. It gets a namespace of its own and two values, so that there is something to tamper with.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inMemory, type Cipherlog } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { CipherlogError, systemRandom, toHex } from '@cipherlog/core'
import { suites } from '@cipherlog/format'
import { readNodeKeys } from '@cipherlog/server'
import { connectAs } from '../cluster/connect.ts'
import { createCluster } from '../cluster/create-cluster.ts'
import { listNodes, type NodeFiles } from '../cluster/layout.ts'
import { runningPid } from '../cluster/pid-file.ts'
import { type Profile } from '../cluster/profile.ts'
import { registerOwnClient } from '../cluster/register.ts'
import { startNodes, stopNodes } from '../cluster/run-nodes.ts'
import { readTrustPolicy } from '../cluster/trust-policy.ts'
import { type TamperDemoOptions } from './tamper.ts'
import { readCheckpoint, sizeOf } from './trail-copy.ts'

/** Its values mean nothing, so that a demonstration touches nobody's data. */
const namespace = 'demo/tamper'
/** How long the attacked node may take to publish what was written. */
const publishedMsMax = 20_000

export interface StageOptions {
  readonly profile: Profile
  readonly passphrase: string
  /** Told what is going on. */
  readonly onStep?: (text: string) => void
}

/** A cluster of three nodes that is gone afterwards. */
export async function withTemporaryCluster<T>(use: (options: StageOptions) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'cipherlog-demo-'))
  try {
    const passphrase = toHex(systemRandom.bytes(16))
    const profile = await createCluster(directory, { name: 'demo.test/tamper', nodes: 3, passphrase })
    return await use({ profile, passphrase })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Everything that {@link runTamperDemo} needs; the host that attacks is that of the first node. */
export async function withStage<T>(options: StageOptions, use: (demo: TamperDemoOptions) => Promise<T>): Promise<T> {
  const { profile, onStep = () => {} } = options
  const nodes = await listNodes(profile.directory)
  const [host] = nodes
  const endpoint = profile.endpoints[0]
  if (host === undefined || endpoint === undefined) {
    const message = `${profile.directory} has no nodes; run the demonstration where they are.`
    throw new CipherlogError('ERR_DIRECTORY', message)
  }
  return whileRunning(nodes, onStep, async () => {
    onStep('Writing two values')
    await prepare(options, host.trailDirectory)
    return use({
      trailDirectory: host.trailDirectory,
      trustPolicy: await readTrustPolicy(profile.trustPolicyFile),
      endpoint,
      nodeKeys: await readNodeKeys(host.keysFile),
      write: (to) => writeThrough(options, to),
    })
  })
}

/** Starts the nodes that do not run, and stops those again. */
async function whileRunning<T>(
  nodes: readonly NodeFiles[],
  onStep: (text: string) => void,
  action: () => Promise<T>,
): Promise<T> {
  const pids = await Promise.all(nodes.map(runningPid))
  const stopped = nodes.filter((_node, i) => pids[i] === undefined)
  if (stopped.length > 0) onStep('Starting the nodes')
  const started = await startNodes(stopped)
  try {
    return await action()
  } finally {
    await stopNodes(started)
  }
}

async function prepare({ profile, passphrase }: StageOptions, trailDirectory: string): Promise<void> {
  const log = await connectAs(profile, passphrase, { memory: inMemory() })
  try {
    await registerOwnClient(log)
    await createNamespace(log)
    await log.kv(namespace).put('first', 'one')
    const done = await log.kv(namespace).put('second', 'two')
    // Closes the batch; then the attacked node publishes it in its own time.
    await done.receipt()
    await published(trailDirectory, done.leaf)
  } finally {
    await log.close()
  }
}

async function published(trailDirectory: string, leaf: number): Promise<void> {
  const deadline = performance.now() + publishedMsMax
  while (sizeOf(await readCheckpoint(trailDirectory)) <= leaf) {
    if (performance.now() > deadline) {
      const message = 'The first node does not publish; look at `cipherlog status` and its log.'
      throw new CipherlogError('ERR_NOT_PUBLISHED', message)
    }
    await sleep(50)
  }
}

async function createNamespace(log: Cipherlog): Promise<void> {
  if (log.view.current.registry.namespace(namespace) !== undefined) return
  const operator = new Operator(log)
  const suite = suites.hpkeXwing
  const { keyset } = await operator.createKeyset({ suite, readers: [log.keyring] })
  await operator.createNamespace({ name: namespace, machine: 'kv', suite, keyset })
}

/** As a newcomer that knows one endpoint and has seen nothing yet: the easiest to deceive. */
async function writeThrough({ profile, passphrase }: StageOptions, endpoint: string): Promise<void> {
  const log = await connectAs(profile, passphrase, { endpoints: [endpoint], memory: inMemory() })
  try {
    await log.kv(namespace).put('third', 'three')
  } finally {
    await log.close()
  }
}
