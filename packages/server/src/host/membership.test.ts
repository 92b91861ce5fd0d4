import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '@cipherlog/core'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../pipeline/replica.fixture.ts'
import { connectCluster } from './cluster-client.ts'
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
    const logs = () => [...cluster.running.values()].map(({ replica }) => replica.status().compactedIndex)
    await until(() => logs().every((compacted) => compacted > 0), 'every log is compacted')

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
    expect((await joining.metrics.snapshotsInstalled.get()).values[0]!.value).toBeGreaterThanOrEqual(1)

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

  it('is run by who holds the TLS key of a listed replica, and by nobody else', async () => {
    cluster = await NodeCluster.create(1)
    const [a] = cluster.places as [NodePlace]
    await cluster.startAll()
    await cluster.ready()
    const stranger = await cluster.newPlace()
    expect(await codeOf(cluster.client(a, stranger).then((client) => client.status()))).toMatch(
      /^ERR_(CANCELED|UNAVAILABLE)$/,
    )
    const client = await cluster.client(a)
    expect(await client.status()).toMatchObject({ peerId: a.id, role: 'leader', membership: 'voter' })
    expect(await codeOf(client.changeMembership({ changes: [{ type: 'remove', peer: a.id }] }))).toBe(
      'ERR_MEMBERSHIP_INVALID',
    )
    expect(await codeOf(client.changeMembership({ changes: [{ type: 'remove', peer: 'nobody' }] }))).toBe(
      'ERR_REQUEST_INVALID',
    )
    expect(await codeOf(client.transferLeadership())).toBe('ERR_TRANSFER_FAILED')
    await client.stepDown()
    await cluster.ready()
    client.close()
    expect(await codeOf(client.status())).toBe('ERR_UNAVAILABLE')
    // Asked on the port for clients, nobody answers.
    const response = await fetch(`${cluster.running.get(a.id)!.apiUrl}/cipherlog.v1.ClusterService/StepDown`, {
      method: 'POST',
    }).catch(() => undefined)
    expect(response?.ok ?? false).toBe(false)
    // The other side must show a key that the caller accepts.
    const other = connectCluster({ address: { host: '127.0.0.1', port: a.peers }, keys: a.keys, accept: [] })
    expect(await codeOf(other)).toBe('ERR_PEER_KEY')
  })

  it('refuses changes on a follower, and those after which the group could not go on', async () => {
    cluster = await NodeCluster.create(3)
    await cluster.startAll()
    const leader = await cluster.ready()
    const [first, second] = cluster.places.filter(({ id }) => id !== leader.peerId) as [NodePlace, NodePlace]
    await until(() => leader.replica.status().publishedSize === 2, 'the genesis is published')
    const onFollower = await cluster.client(first)
    const remove = (peer: string) => ({ changes: [{ type: 'remove', peer }] }) as const
    expect(await codeOf(onFollower.changeMembership(remove(second.id)))).toBe('ERR_NOT_LEADER')
    expect((await onFollower.status()).leaderId).toBe(leader.peerId)
    onFollower.close()
    const client = await cluster.leaderClient()
    await cluster.running.get(second.id)!.stop()
    cluster.running.delete(second.id)
    const alive = () => leader.member.replicator.status().members[second.id]!.alive
    await until(() => !alive(), 'the leader misses it')
    // Two of three cosign, and the one that is left would not be two.
    expect(await codeOf(client.changeMembership(remove(first.id)))).toBe('ERR_MEMBERSHIP_QUORUM')
    client.close()
  })
})

describe('a damaged log', () => {
  let cluster: NodeCluster
  afterEach(async () => {
    await cluster.stop()
  })

  it('is mended from the other replicas, payload by payload, and holds nobody up for long', async () => {
    cluster = await NodeCluster.create(3)
    await cluster.startAll({ storage: { ...cluster.config(cluster.places[0]!).storage, logEntriesMax: 100_000 } })
    const leader = await cluster.ready()
    await cluster.addLeaves(3)
    const damaged = cluster.places.find(({ id }) => id !== leader.peerId)!
    const node = cluster.running.get(damaged.id)!
    const goal = leader.replica.status().treeSize
    await until(() => node.replica.status().treeSize >= goal, 'it has everything')
    await node.stop()
    const folder = join(damaged.folder, 'data', 'wal')
    const segment = (await readdir(folder)).filter((name) => name.endsWith('.wal')).sort()[0]!
    const bytes = await readFile(join(folder, segment))
    // In the middle of the payload of a key event, which is the longest thing there.
    const at = bytes.indexOf(cluster.lastEvent.subarray(40, 80))
    expect(at).toBeGreaterThan(0)
    bytes[at] = bytes[at]! ^ 1
    await writeFile(join(folder, segment), bytes)
    const again = await cluster.start(damaged)
    await until(() => again.replica.status().damagedEntries === 0, 'it is mended')
    expect((await again.metrics.payloadsRepaired.get()).values[0]!.value).toBe(1)
    await cluster.addLeaves(1)
    await until(() => again.replica.status().treeSize > goal, 'it goes on')
    await again.stop()
    const once = await cluster.start(damaged)
    expect(once.replica.status().damagedEntries).toBe(0)
    expect(cluster.faults).toEqual([])
  })
})
