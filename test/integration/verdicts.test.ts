/** Refused, repeated, rejected: what becomes of commands that must not take effect, on three replicas. */
import { CipherlogError, decode } from '@cipherlog/core'
import { leafRecord, verdictName } from '@cipherlog/format'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, everything, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld({ nodes: 3 })
})
afterAll(async () => world.close())

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
    return 'nothing was thrown'
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    return error.code
  }
}

/** Verdicts of a leaf on every replica, by name. */
async function verdictsEverywhere(leaf: number): Promise<string[][]> {
  return Promise.all(
    world.cluster.replicas.map(async ({ node }) => {
      const deadline = Date.now() + 10_000
      while (node!.replica.status().treeSize <= leaf && Date.now() < deadline)
        await new Promise((r) => setTimeout(r, 20))
      const { record } = await node!.replica.leaf(leaf)
      return decode(leafRecord, record).verdicts!.map(verdictName)
    }),
  )
}

test('the same bytes again get the first answer and no second leaf', async () => {
  const { lowLevel } = world.log
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'replayed', 1))
  const first = await lowLevel.proposeBundle(bundle)
  const again = await lowLevel.proposeBundle(bundle)
  expect(again).toMatchObject({ leaf: first.leaf, verdicts: first.verdicts, duplicate: true })
  const next = await lowLevel.proposeBundle(await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'replayed', 2)))
  expect(next.duplicate).toBe(false)
  expect(await codeOf(lowLevel.proposeBundle(bundle))).toBe('ERR_SEQUENCE_PAST')
})

test('a body other than the one that was signed is refused', async () => {
  const { lowLevel } = world.log
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'altered', 1))
  const body = bundle.body.slice()
  body[body.length - 1]! ^= 1
  expect(await codeOf(lowLevel.proposeBundle({ ...bundle, body }))).toBe('ERR_BODY_DIGEST')
  expect(await codeOf(lowLevel.proposeBundle({ ...bundle, body: body.subarray(1) }))).toBe('ERR_DECODE_BODY')
  expect((await lowLevel.proposeBundle(bundle)).verdictNames.at(-1)).toBe('applied')
})

test('an altered signature is refused', async () => {
  const { lowLevel } = world.log
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'unsigned', 1))
  const signed = bundle.signed.slice()
  signed[signed.length - 1]! ^= 1
  expect(await codeOf(lowLevel.proposeBundle({ ...bundle, signed }))).toBe('ERR_SIGNATURE')
})

test('a client without a grant is rejected, and the reason stands in the trail of every replica', async () => {
  const limited = await world.operator.addClient({
    grants: [{ namespaces: 'audit', operations: ['append', 'envelope'] }],
  })
  const log = await world.connect({ identity: limited })
  expect(await codeOf(log.kv('orders').put('order-1', 1))).toBe('ERR_POLICY_GRANT')
  const { lowLevel } = world.log
  const commands = await lowLevel.sealPut('orders', 'order-1', 1)
  const answer = await log.lowLevel.proposeBundle(await log.lowLevel.sealBundle(commands))
  expect(await verdictsEverywhere(answer.leaf)).toEqual(Array.from({ length: 3 }, () => answer.verdictNames))
  expect(answer.verdictNames).toContain('grant')
})

test('a revoked client is rejected from that position on', async () => {
  const leaving = await world.operator.addClient({ grants: [everything], label: 'leaving' })
  const log = await world.connect({ identity: leaving })
  await log.kv('orders').put('before', 1)
  const { lowLevel } = log
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'after', 2))
  await world.operator.revokeClient(leaving.client, 'left the company')
  const answer = await lowLevel.proposeBundle(bundle)
  expect(answer.verdictNames).toEqual(answer.verdictNames.map(() => 'revoked'))
  expect(await verdictsEverywhere(answer.leaf)).toEqual(Array.from({ length: 3 }, () => answer.verdictNames))
  expect(await world.log.kv('orders').get('after')).toBeUndefined()
  expect(await codeOf(log.kv('orders').put('after', 3))).toMatch(/REVOKED/)
})

test('rotation: the old version lives through its grace, then ends; readers open both', async () => {
  await world.log.kv('orders').put('old', 'under version 1')
  const { lowLevel } = world.log
  const withinGrace = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'grace', 1))
  await world.operator.rotateKey({ keyset: world.keysets.values, readers: [world.keyring], graceMs: 4_000 })
  expect((await lowLevel.proposeBundle(withinGrace)).verdictNames.at(-1)).toBe('applied')
  await world.log.kv('orders').put('new', 'under version 2')

  const late = await world.connect({ identity: world.identity })
  const stale = await lowLevel.sealBundle(
    (await lowLevel.sealPut('orders', 'stale', 1)).map((command) => ({
      ...command,
      head: { ...command.head, keyEpoch: 1 },
    })),
  )
  await new Promise((resolve) => setTimeout(resolve, 4_500))
  // Log time moves with entries.
  await late.kv('orders').put('tick', 1)
  const answer = await lowLevel.proposeBundle(stale)
  expect(answer.verdictNames.at(-1)).toBe('epoch')
  expect((await late.kv('orders').get('old'))?.value).toBe('under version 1')
  expect((await late.kv('orders').get('new'))?.value).toBe('under version 2')
})

test('a compromised version is rejected at once', async () => {
  const { lowLevel } = world.log
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut('orders', 'compromised', 1))
  await world.operator.compromiseKeyVersion(world.keysets.values, 2, 'laptop lost')
  expect((await lowLevel.proposeBundle(bundle)).verdictNames.at(-1)).toBe('epoch')
  await world.operator.rotateKey({ keyset: world.keysets.values, readers: [world.keyring], graceMs: 0 })
  await world.log.kv('orders').put('compromised', 2)
  expect((await world.log.kv('orders').get('compromised'))?.value).toBe(2)
})
