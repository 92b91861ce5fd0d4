import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createServer, type Server } from 'node:net'
import { fromHex, systemClock, systemRandom } from '@cipherlog/core'
import { startTestCluster, type TestCluster } from '@cipherlog/testkit/cluster'
import { Cipherlog } from '../cipherlog.ts'
import { Keyring } from '../keyring.ts'
import { Operator } from '../operator/operator.ts'
import { Replicas } from '../replicas.ts'
import { everything } from '../test-world.fixture.ts'
import { nodeDial } from './node-connection.ts'

let cluster: TestCluster
beforeAll(async () => {
  cluster = await startTestCluster()
})
afterAll(() => cluster.stop())

const dialled = (dial = nodeDial({ kind: 'pinned' }), endpoints = cluster.endpoints) =>
  new Replicas({ endpoints, dial, clock: systemClock, random: systemRandom, readMsMax: 300 })

describe('a replica over HTTP/2', () => {
  test('is known by the key in its certificate, which the cosigner set lists', async () => {
    const replicas = dialled()
    const status = await replicas.connection().status()
    expect(status).toMatchObject({ role: 'leader', peerId: expect.stringMatching(/^[0-9a-f]{32}$/) })
    expect(replicas.connection().peerKey).toHaveLength(32)
    replicas.close()
  })

  test('whose key is not listed is not spoken to', async () => {
    const replicas = dialled()
    await replicas.connection().status()
    replicas.pin([new Uint8Array(32).fill(7)])
    await expect(replicas.connection().status()).rejects.toMatchObject({ code: 'ERR_POLICY_ENDPOINT' })
    await expect(
      replicas.connection().propose({ kind: 1, signed: new Uint8Array(1), body: new Uint8Array(0), receipt: false }),
    ).rejects.toMatchObject({ code: 'ERR_POLICY_ENDPOINT' })
    replicas.close()
  })

  test('that answers no ping is connected to anew', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const replicas = dialled()
    try {
      await replicas.connection().status()
      // A ping, no answer, and then some, before the connection had time to close.
      vi.advanceTimersByTime(60_000)
      expect(await replicas.connection().status()).toMatchObject({ role: 'leader' })
    } finally {
      replicas.close()
      vi.useRealTimers()
    }
  })

  test('without a certificate of a CA is refused where one is asked for', async () => {
    const replicas = dialled(nodeDial({ kind: 'ca' }))
    await expect(replicas.connection().status()).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
    replicas.close()
  })

  test('answers what its errors say, and has no tile that is not there', async () => {
    const replicas = dialled()
    const connection = replicas.connection()
    await expect(connection.leaf(999)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' })
    await expect(connection.session(fromHex('00'))).rejects.toMatchObject({ code: 'ERR_REQUEST_INVALID' })
    expect(await connection.tile('tile/0/x001/000')).toBeUndefined()
    expect(await connection.tile('tile/0/000.p/2')).toHaveLength(64)
    replicas.close()
  })

  test('that nobody listens for is unavailable, and one that says nothing too', async () => {
    const silent: Server = createServer()
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    silent.on('connection', (socket) => socket.end())
    const replicas = dialled(undefined, ['https://127.0.0.1:1', `https://127.0.0.1:${port}`])
    for (const address of replicas.addresses) {
      await expect(replicas.connection(address).status()).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
      const proposal = { kind: 1, signed: new Uint8Array(1), body: new Uint8Array(0), receipt: false } as const
      await expect(replicas.connection(address).propose(proposal)).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
    }
    replicas.close()
    silent.close()
  })
})

test('proposals in flight, a watch and reads share one connection, which is found again after it was lost', async () => {
  const keyring = new Keyring()
  const { endpoints, trustPolicy } = cluster
  keyring.addNameKey(trustPolicy.cluster, systemRandom)
  const admin = await Cipherlog.connect({ endpoints, trustPolicy, keyring })
  const operator = new Operator(admin, { signers: [cluster.operator] })
  const { keyset } = await operator.createKeyset({ suite: 1, readers: [keyring] })
  await operator.createNamespace({ name: 'orders', machine: 'kv', suite: 1, keyset })
  await operator.addClient({ grants: [everything], keyring })
  const log = await Cipherlog.connect({ endpoints, trustPolicy, keyring })
  const watched: unknown[] = []
  // Expected from the start: it ends while the log is still being closed.
  const watching = expect(
    (async () => {
      for await (const { name } of log.watch({ namespace: 'orders' })) if (watched.push(name) === 4) break
    })(),
  ).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  await Promise.all(['a', 'b', 'c'].map((name, i) => log.kv('orders').put(name, i)))
  expect(await log.kv('orders').get('c')).toMatchObject({ value: 2 })
  // As if the network had cut it: the handle is new, the session on the log the same.
  log.replicas.connection().close()
  await log.replicas.read((connection) => connection.status()).catch(() => undefined)
  await admin.close()
  await log.close()
  const again = await Cipherlog.connect({ endpoints, trustPolicy, keyring })
  await again.kv('orders').put('d', 3)
  await again.close()
  await watching
  expect(watched.slice(0, 3)).toEqual(['a', 'b', 'c'])
})
