/** Promise 4 and 5: what was acknowledged survives crashes, exactly once, and all replicas end with one root. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suites } from '@cipherlog/format'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { auditTrail } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import { readTrustPolicy } from '@cipherlog/cli/cluster'
import { Prng } from '@cipherlog/testkit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKv, startProcesses, type ProcessCluster } from './processes.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const kills = 20

let cluster: ProcessCluster
beforeAll(async () => {
  cluster = await startProcesses()
  await createKv(cluster, 'orders')
  const { keyset } = await cluster.operator.createKeyset({ suite: suites.hpkeXwing, readers: [cluster.log.keyring] })
  await cluster.operator.createNamespace({ name: 'lines', machine: 'log', suite: suites.hpkeXwing, keyset })
})
afterAll(async () => cluster.close())

test(`20 SIGKILLs of random replicas during one import lose no acknowledged command (seed ${seed})`, async () => {
  const prng = new Prng(seed)
  const orders = cluster.log.kv('orders')
  const acknowledged = new Map<string, number>()
  const appended = new Set<string>()
  let importing = true
  const importer = (async () => {
    for (let n = 0; importing; n++) {
      // Several at once, so that kills hit bundles in every stage.
      await Promise.all([
        ...[0, 1, 2].map(async (lane) => {
          const name = `order-${lane}-${n % 50}`
          await orders.put(name, n)
          acknowledged.set(name, n)
        }),
        (async () => {
          await cluster.log.log('lines').append(`line ${n}`)
          appended.add(`line ${n}`)
        })(),
      ])
    }
  })()
  let importFailed: unknown
  importer.catch((error: unknown) => (importFailed = error))

  for (let kill = 0; kill < kills && importFailed === undefined; kill++) {
    const victim = prng.between(1, 3)
    await new Promise((resolve) => setTimeout(resolve, prng.between(0, 400)))
    await cluster.kill(victim)
    await new Promise((resolve) => setTimeout(resolve, prng.between(0, 300)))
    await cluster.start(victim)
  }
  importing = false
  await importer
  expect(importFailed).toBeUndefined()
  expect(acknowledged.size).toBeGreaterThan(50)
  for (const [name, n] of acknowledged) expect((await orders.get(name))?.value, name).toBe(n)

  await cluster.log.log('lines').append('the last line')
  const lines: unknown[] = []
  for await (const entry of cluster.log.watch({ from: 0, namespace: 'lines' })) {
    if (entry.op !== 'append') continue
    lines.push(entry.value)
    if (entry.value === 'the last line') break
  }
  expect(new Set(lines).size, 'a line stands in the log twice').toBe(lines.length)
  for (const line of appended) expect(lines).toContain(line)

  await (await orders.put('the last', 1)).receipt()
  const roots = await waitForOneRoot()
  expect(new Set(roots).size, `roots at the newest size: ${roots.join(', ')}`).toBe(1)

  await cluster.stopNodes()
  const trustPolicy = await readTrustPolicy(cluster.profile.trustPolicyFile)
  const verifier = await createWorkerVerifier({ threads: 1 })
  try {
    for (const node of cluster.nodes) {
      const report = await auditTrail(trailDirectory(node.trailDirectory), { trustPolicy, verifier })
      expect(report.problems, `node ${node.number}`).toEqual([])
    }
  } finally {
    await verifier.close()
  }
})

/** The published checkpoints of all replicas, once they have the same size. */
async function waitForOneRoot(): Promise<string[]> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const checkpoints = await Promise.all(
      cluster.nodes.map(async (node) =>
        parseCheckpoint(parseNote(await readFile(join(node.trailDirectory, 'checkpoint'), 'utf8')).text),
      ),
    )
    if (new Set(checkpoints.map(({ size }) => size)).size === 1) {
      return checkpoints.map(({ rootHash }) => Buffer.from(rootHash).toString('hex'))
    }
    if (Date.now() > deadline) {
      throw new Error(`sizes stay apart: ${checkpoints.map(({ size }) => size).join(', ')}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
