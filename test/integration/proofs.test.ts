/** Promise 2: proofs are checked by every replica before apply, whatever the leader let through. */
import { CipherlogError, decode, encode } from '@cipherlog/core'
import { leafRecord, logEntry, verdictName } from '@cipherlog/format'
import { auditTrail } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import { type SealedCommand } from '@cipherlog/client/low-level'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'nothing was thrown'
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    return error.code
  }
}

/** Two commands with each other's proofs: each proof holds, but for another statement. */
async function swapped({ log }: World): Promise<[SealedCommand, SealedCommand]> {
  const first = await log.counter('revenue').sealAdd(5n)
  const second = await log.counter('revenue').sealAdd(6n)
  const withProof = (command: SealedCommand, proof: Uint8Array | undefined): SealedCommand =>
    log.lowLevel.replaceBodies(command, { ciphertext: command.bodies.ciphertext, proof })
  return [withProof(first, second.bodies.proof), withProof(second, first.bodies.proof)]
}

describe('an honest leader', () => {
  let world: World
  beforeAll(async () => {
    world = await createWorld({ counters: true })
  })
  afterAll(async () => world.close())

  test('adds proven amounts; the sum is proven before it is opened', async () => {
    const done = await world.log.counter('revenue').add(1999n)
    await world.log.counter('revenue').add(4_294_967_295n, { cell: 'large' })
    expect(done.verdict).toBe('applied')
    expect(await world.log.counter('revenue').read()).toMatchObject({ value: 1999n, count: 1 })
    expect(await world.log.counter('revenue').read({ cell: 'large' })).toMatchObject({ value: 4_294_967_295n })
    expect(await world.log.counter('revenue').read({ cell: 'none' })).toBeUndefined()
    await expect(world.log.counter('revenue').add(4_294_967_296n)).rejects.toThrow(RangeError)
  })

  test('refuses a proof of another statement, an altered proof and garbage, and logs nothing', async () => {
    const { lowLevel } = world.log
    const good = await world.log.counter('revenue').sealAdd(7n)
    const { treeSize } = world.cluster.replicas[0]!.node!.replica.status()
    const send = async (proof: Uint8Array | undefined): Promise<string> => {
      const command = lowLevel.replaceBodies(good, { ciphertext: good.bodies.ciphertext, proof })
      return codeOf(lowLevel.proposeBundle(await lowLevel.sealBundle([command])))
    }
    const [other] = await swapped(world)
    expect(await send(other.bodies.proof)).toBe('ERR_PROOF')
    const flipped = good.bodies.proof!.slice()
    flipped[40]! ^= 1
    expect(await send(flipped)).toBe('ERR_PROOF')
    expect(await send(new Uint8Array(128))).toBe('ERR_PROOF')
    const { treeSize: after } = world.cluster.replicas[0]!.node!.replica.status()
    // The session of the low-level door is a leaf, and batch records may follow; no bundle is.
    const kinds = new Set<number>()
    for (let leaf = treeSize; leaf < after; leaf++) {
      kinds.add((await world.cluster.replicas[0]!.node!.replica.leaf(leaf)).record[2]!)
    }
    expect(kinds.has(3)).toBe(false)
  })

  test('rejects an amount without a proof', async () => {
    const { lowLevel } = world.log
    const sealed = await world.log.counter('revenue').sealAdd(8n)
    const bare = lowLevel.replaceBodies(sealed, { ciphertext: sealed.bodies.ciphertext })
    const answer = await lowLevel.proposeBundle(await lowLevel.sealBundle([bare]))
    expect(answer.verdictNames).toEqual(['command'])
  })

  test('refuses a proof that was made for another command', async () => {
    const { lowLevel } = world.log
    const sealed = await world.log.counter('revenue').sealAdd(8n)
    const head = { ...sealed.head, commandId: new Uint8Array(16).fill(9) }
    expect(await codeOf(lowLevel.proposeBundle(await lowLevel.sealBundle([{ ...sealed, head }])))).toBe('ERR_PROOF')
  })

  test('refuses an ElGamal ciphertext that is off the curve', async () => {
    const { lowLevel } = world.log
    const sealed = await world.log.counter('revenue').sealAdd(8n)
    const ciphertext = sealed.bodies.ciphertext!.slice()
    ciphertext[31]! ^= 1
    const command = lowLevel.replaceBodies(sealed, { ciphertext, proof: sealed.bodies.proof })
    expect(await codeOf(lowLevel.proposeBundle(await lowLevel.sealBundle([command])))).toBe('ERR_GATE')
  })
})

describe('a leader that skips admission', () => {
  let world: World
  beforeAll(async () => {
    world = await createWorld({
      nodes: 3,
      counters: true,
      nodeOptions: {
        admit: (ledger, _verifier, proposal) => {
          const plan = ledger.plan(proposal)
          if (plan.outcome === 'duplicate') return Promise.resolve(plan)
          return Promise.resolve({
            outcome: 'admitted',
            payload: encode(logEntry, [proposal.signed, proposal.body]),
            costMs: 1,
          })
        },
      },
    })
  })
  afterAll(async () => world.close())

  test('gets rejected(proof) from every replica, and the auditor sees it in the trail', async () => {
    const { lowLevel } = world.log
    const [first, second] = await swapped(world)
    const good = await world.log.counter('revenue').sealAdd(100n)
    const answer = await lowLevel.proposeBundle(await lowLevel.sealBundle([good, first, second]))
    expect(answer.verdictNames).toEqual(['applied', 'proof', 'notVerified'])
    for (const { node } of world.cluster.replicas) {
      const deadline = Date.now() + 10_000
      while (node!.replica.status().treeSize <= answer.leaf && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const { record } = await node!.replica.leaf(answer.leaf)
      expect(decode(leafRecord, record).verdicts!.map(verdictName)).toEqual(['applied', 'proof', 'notVerified'])
    }
    expect(await world.log.counter('revenue').read()).toMatchObject({ value: 100n, count: 1 })

    const [replica] = world.cluster.replicas
    await replica!.stop()
    const verifier = await createWorkerVerifier({ threads: 1 })
    try {
      const report = await auditTrail(trailDirectory(replica!.trailDirectory), {
        trustPolicy: world.cluster.trustPolicy,
        verifier,
      })
      expect(report.problems).toEqual([])
      expect(report.verdicts).toMatchObject({ proof: 1, notVerified: 1 })
    } finally {
      await verifier.close()
    }
  })
})
