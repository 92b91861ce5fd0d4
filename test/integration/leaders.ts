/** Who leads a cluster of processes, asked of each node by itself. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ReplicaStatus } from '@cipherlog/client'
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
