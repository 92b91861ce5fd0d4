import { errorCode } from '@cipherlog/core'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../pipeline/replica.fixture.ts'
import { NodeCluster, type NodePlace } from './cluster.fixture.ts'

describe('membership of a running cluster', () => {
  let cluster: NodeCluster
  afterEach(async () => {
    await cluster.stop()
  })

  const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
    promise.then(
      () => undefined,
      (error: unknown) => errorCode(error) ?? String(error),
    )

  it('lets a replica join by snapshot, promotes it in place of an old one, and hands it the leadership', async () => {
    cluster = await NodeCluster.create(3, { snapshotEveryLeaves: 4 })
    await cluster.startAll()
    const [a, b, c] = cluster.places as [NodePlace, NodePlace, NodePlace]
    await cluster.ready()
    await cluster.addLeaves(12)
    await until(() => cluster.leader!.replica.status().compactedIndex > 0, 'the log is compacted')

    const d = await cluster.newPlace()
    const joining = await cluster.start(d, { join: true })
    expect(joining.replica.status()).toMatchObject({ membership: 'joining', treeSize: 2 })
    expect(joining.replica.ready().ok).toBe(false)

    const client = await cluster.leaderClient()
    const learner = { changes: [{ type: 'addLearner', peer: d.id }], addresses: [cluster.addressOf(d)] } as const
    expect(await codeOf(client.changeMembership(learner))).toBe('ERR_MEMBERSHIP_UNLISTED')
    const gone = [a, b, c].find(({ id }) => id !== cluster.leader!.peerId)!
    await cluster.setCosigners([...[a, b, c].filter((place) => place !== gone), d])
    await client.changeMembership(learner)
    await until(() => joining.replica.status().membership === 'learner', 'it learns')
    await until(() => joining.replica.status().snapshotIndex > 0, 'it has a snapshot')
    const goal = cluster.leader!.replica.status().treeSize
    await until(() => joining.replica.status().treeSize >= goal, 'it has caught up')
    expect((await joining.metrics.snapshotsInstalled.get()).values[0]!.value).toBe(1)

    const { configuration } = await client.changeMembership({
      changes: [
        { type: 'remove', peer: gone.id },
        { type: 'addVoter', peer: d.id },
      ],
    })
    expect([...configuration.voters].sort()).toEqual(
      [...[a, b, c].filter((place) => place !== gone), d].map(({ id }) => id).sort(),
    )
    expect(configuration.votersOutgoing).toEqual([])
    await until(
      () => cluster.running.get(gone.id)!.replica.status().membership === 'removed',
      'it knows that it is out',
    )
    expect(cluster.running.get(gone.id)!.replica.ready().ok).toBe(false)

    expect(await client.transferLeadership(d.id)).toBe(d.id)
    await until(() => joining.replica.status().role === 'leader', 'it leads')
    client.close()
    await cluster.addLeaves(2)
    await until(() => joining.replica.status().publishedSize >= goal + 4, 'it publishes')
    await until(() => joining.replica.status().trailFrom === 0, 'its trail is whole')
    expect(cluster.faults).toEqual([])
  })
})
