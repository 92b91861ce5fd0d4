/** What tests of faults ask of a cluster of processes from outside. */
import { setTimeout as sleep } from 'node:timers/promises'
import { auditTrail } from '@cipherlog/audit'
import { trailDirectory } from '@cipherlog/audit/node'
import { readTrustPolicy } from '@cipherlog/cli/cluster'
import { type ReplicaStatus } from '@cipherlog/client'
import { expect } from 'vitest'
import { type ProcessCluster } from './processes.ts'

/** What a node says of itself; undefined if it does not answer within a second. */
export async function statusOf({ log, profile }: ProcessCluster, node: number): Promise<ReplicaStatus | undefined> {
  const asked = log.replicas.connection(profile.endpoints[node - 1]!).status()
  return Promise.race([asked.catch(() => undefined), sleep(1000).then(() => undefined)])
}

/**
 * Waits until one of `among` leads and as many as are named say so.
 * @returns its number.
 * @throws after 20 s.
 */
export async function waitForLeader(cluster: ProcessCluster, among: readonly number[]): Promise<number> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const statuses = await Promise.all(among.map((node) => statusOf(cluster, node)))
    const leads = statuses.findIndex((status) => status?.role === 'leader')
    const leader = statuses[leads]
    if (leader !== undefined && statuses.every((status) => status?.leaderId === leader.peerId)) return among[leads]!
    if (Date.now() > deadline) throw new Error(`nobody leads nodes ${among.join(', ')}`)
    await sleep(50)
  }
}

/** Waits until a node has applied all that anybody has committed by now. @throws after 20 s. */
export async function caughtUp(cluster: ProcessCluster, node: number): Promise<void> {
  const everyone = cluster.nodes.map(({ number }) => number)
  const statuses = await Promise.all(everyone.map((each) => statusOf(cluster, each)))
  const goal = Math.max(...statuses.map((status) => status?.commitIndex ?? 0))
  const applied = async (): Promise<number> => (await statusOf(cluster, node))?.appliedIndex ?? 0
  await expect.poll(applied, { timeout: 20_000 }).toBeGreaterThanOrEqual(goal)
}

/** Stops the cluster and audits every trail. */
export async function expectCleanAudits(cluster: ProcessCluster): Promise<void> {
  await cluster.stopNodes()
  const trustPolicy = await readTrustPolicy(cluster.profile.trustPolicyFile)
  for (const { number, trailDirectory: directory } of cluster.nodes) {
    const report = await auditTrail(trailDirectory(directory), { trustPolicy })
    expect(report.problems, `node ${number}`).toEqual([])
  }
}
