/**
 * Trails of several generations, and of logs in which an entry was set aside: made by a real ledger and trail store,
 * audited from files alone.
 */
import { decode, encode, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { auditTrail, rebuildState, trailFiles, type TrailSource } from '@cipherlog/audit'
import { group0, leafKinds, leafRecord, policyChain, type Seen, type TrustPolicy } from '@cipherlog/format'
import { Ledger, storedEnvelopes } from '@cipherlog/machine'
import { inclusionProof } from '@cipherlog/merkle/tree'
import { leafHash, tileWidthMax } from '@cipherlog/merkle/verify'
import { encodeReceipt, openPolicyChain, verifyReceipt } from '@cipherlog/registry'
import { beforeAll, describe, expect, test } from 'vitest'
import { amount, keyEvent, TestCluster, Writer } from '../../../packages/machine/src/cluster.fixture.ts'
import { contentsOf, ledgerOptions, LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'
import { forgeTrail, noteOf, plainLeaf, storeTrail } from './rich-trail.ts'

const oldReplicas = ['r1', 'r2', 'r3']
const newReplicas = ['n1', 'n2', 'n3']

interface Generation {
  readonly driver: LedgerDriver
  readonly files: Map<string, Uint8Array>
}
const endOf = ({ closed }: LedgerDriver): Seen => ({
  treeSize: closed.at(-1)!.size,
  rootHash: closed.at(-1)!.rootHash,
})

/** The trail of a driver's ledger as it stands, published by `cosigners`. */
async function published(driver: LedgerDriver, cosigners: readonly string[]): Promise<Map<string, Uint8Array>> {
  const { origin, registry } = driver.ledger
  const size = driver.leaves.length
  const checkpoint = noteOf(origin, endOf(driver), { cosigners })
  return storeTrail(driver.leaves.map(plainLeaf), [
    { checkpoint, size, policyChain: registry.policyChain(() => undefined) },
  ])
}
const sourceOf = (files: ReadonlyMap<string, Uint8Array>): TrailSource =>
  trailFiles(new Map([...files].map(([path, bytes]) => [path, new Blob([new Uint8Array(bytes)])])))

let cluster: TestCluster
let alice: Writer
let envelope: Uint8Array
let old: Generation
let next: Generation
let trustPolicy: TrustPolicy
const noProofs = {
  verify: (checks: readonly unknown[]) => Promise.resolve(checks.map(() => true)),
  close: () => Promise.resolve(),
}

beforeAll(async () => {
  cluster = await TestCluster.build()
  trustPolicy = { version: 1, cluster: cluster.id, group: group0, generation: 0, witnesses: [], witnessesRequired: 0 }
  const driver = await LedgerDriver.start(cluster)
  alice = new Writer(cluster)
  await driver.apply(alice.open())
  const command = alice.envelope()
  envelope = command.id
  await driver.apply(alice.bundle([command]))
  await driver.apply(alice.bundle([alice.put('a', envelope), alice.add('total', amount(cluster, 7n))]))
  await driver.mark()
  old = { driver, files: await published(driver, oldReplicas) }

  const after = await driver.restored(cluster.groupStart(driver.ledger, endOf(driver), newReplicas))
  const bob = new Writer(cluster)
  const seen = endOf(after)
  await after.apply(bob.open({ generation: 1, number: 2, seen }))
  await after.apply(bob.bundle([bob.put('b', envelope), bob.add('total', amount(cluster, 5n))], { generation: 1 }))
  await after.apply(
    keyEvent(cluster.event(cluster.addClient('zoe', []), { after: after.ledger.registry, seen, keep: false })),
  )
  await after.mark()
  next = { driver: after, files: await published(after, newReplicas) }
})

const audit = (files: ReadonlyMap<string, Uint8Array>, older: readonly ReadonlyMap<string, Uint8Array>[] = []) =>
  auditTrail(sourceOf(files), { trustPolicy, verifier: noProofs, olderGenerations: older.map(sourceOf) })

describe('an audit of a restored cluster', () => {
  test('computes everything again, from the genesis through the restore to the newest checkpoint', async () => {
    const report = await audit(next.files, [old.files])
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({ valid: true, complete: true, findings: [], treeSize: next.driver.leaves.length })
    expect(report.origin).toBe(next.driver.ledger.origin)
    expect(report.leaves).toMatchObject({ 'group start': 1, 'key event': 1 })
  })

  test('is valid without the old trail, and says what it could not compute again', async () => {
    const report = await audit(next.files)
    expect(report).toMatchObject({ valid: true, complete: false, problems: [] })
    expect(report.findings.map(({ code }) => code)).toEqual(['older generation not at hand'])
  })

  test('still audits the old trail alone, and refuses it once the trust policy asks for the next generation', async () => {
    expect(await audit(old.files)).toMatchObject({ valid: true, complete: true })
    const newer = await auditTrail(sourceOf(old.files), { trustPolicy: { ...trustPolicy, generation: 1 } })
    expect(newer.problems[0]).toMatchObject({ code: 'ERR_POLICY_GENERATION' })
    const report = await auditTrail(sourceOf(next.files), {
      trustPolicy: { ...trustPolicy, generation: 1 },
      verifier: noProofs,
      olderGenerations: [sourceOf(old.files)],
    })
    expect(report).toMatchObject({ valid: true, complete: true })
  })

  test('finds an old trail that is another, or ends before the restore', async () => {
    const other = await LedgerDriver.start(cluster)
    await other.apply(new Writer(cluster, 'bob').open())
    await other.mark()
    const shorter = await audit(next.files, [await published(other, oldReplicas)])
    expect(shorter.valid).toBe(false)
    expect(shorter.problems[0]).toMatchObject({
      code: 'ERR_AUDIT_ROLLED_BACK',
      where: expect.stringMatching(/^generation 0, /) as string,
    })

    const bytes = old.files.get('tile/body/000')!.slice()
    bytes[bytes.length - 1]! ^= 1
    const damaged = await audit(next.files, [new Map([...old.files, ['tile/body/000', bytes]])])
    expect(damaged).toMatchObject({ valid: false, problems: [{ code: 'ERR_AUDIT_BODY' }] })
  })

  test('a chain with a forged group start leads nowhere', () => {
    const chain = next.driver.ledger.registry.policyChain(() => undefined)
    expect(openPolicyChain(chain, trustPolicy)).toMatchObject({ generation: 1, origin: next.driver.ledger.origin })
    const [genesis, links] = decode(policyChain, chain)
    const forged = cluster.groupStart(old.driver.ledger, endOf(old.driver), newReplicas, {}, [0])
    const reused = cluster.groupStart(old.driver.ledger, endOf(old.driver), ['r1', 'n2', 'n3'])
    for (const event of [forged, reused, links[0]!.event.slice(1)]) {
      expect(() => openPolicyChain(encode(policyChain, [genesis, [{ ...links[0]!, event }]]), trustPolicy)).toThrow(
        expect.objectContaining({ code: 'ERR_VERIFY_POLICY_CHAIN' }),
      )
    }
    for (const change of [{ leafIndex: 1 }, { origin: old.driver.ledger.origin }]) {
      expect(() => openPolicyChain(encode(policyChain, [genesis, [{ ...links[0]!, ...change }]]), trustPolicy)).toThrow(
        expect.objectContaining({ code: 'ERR_VERIFY_POLICY_CHAIN' }),
      )
    }
  })
})

describe('a receipt', () => {
  const receiptOf = async ({ driver }: Generation, leafIndex: number, cosigners: string[], chain: Uint8Array) => {
    const hashes = driver.leaves.map(({ record }) => leafHash(record))
    const size = hashes.length
    const proof = await inclusionProof(leafIndex, size, (level, index, width) => {
      if (level !== 0) throw new Error('the trees of this test have one level of tiles')
      return Promise.resolve(
        new Uint8Array(hashes.slice(index * tileWidthMax, index * tileWidthMax + width).flatMap((hash) => [...hash])),
      )
    })
    return encodeReceipt({
      leafRecord: driver.leaves[leafIndex]!.record,
      leafIndex,
      inclusionProof: proof,
      checkpoint: noteOf(driver.ledger.origin, endOf(driver), { cosigners }),
      policyChain: chain,
    })
  }

  test('of an old generation still verifies, and with a newer chain says whether its leaf survived', async () => {
    const [before, after] = [old, next].map(({ driver }) => driver.ledger.registry.policyChain(() => undefined))
    const leaf = old.driver.leaves.length - 2
    const first = verifyReceipt({ receipt: await receiptOf(old, leaf, oldReplicas, before!), trustPolicy })
    expect(first.position).toBe(`${old.driver.ledger.origin}#${leaf}`)
    expect(first.lostInRestore).toBeUndefined()
    const again = verifyReceipt({ receipt: await receiptOf(old, leaf, oldReplicas, after!), trustPolicy })
    expect(again.lostInRestore).toBe(false)
    const newest = verifyReceipt({ receipt: await receiptOf(next, 2, newReplicas, after!), trustPolicy })
    expect(newest.position).toBe(`${next.driver.ledger.origin}#2`)
    const wrong = receiptOf(next, 2, oldReplicas, after!)
    await expect(wrong.then((receipt) => verifyReceipt({ receipt, trustPolicy }))).rejects.toMatchObject({
      code: 'ERR_VERIFY_NOTE_UNSIGNED',
    })
  })
})

describe('rebuildState()', () => {
  const wraps = new Map<string, Uint8Array>()
  beforeAll(async () => {
    for await (const stored of storedEnvelopes(old.driver.state)) wraps.set(toHex(stored.id), stored.wraps)
  })
  const wrapsOf = (id: Uint8Array) => Promise.resolve(wraps.get(toHex(id)))

  test('gives the very state that the log had, wraps included, to go on from', async () => {
    const rebuilt = await rebuildState(sourceOf(old.files), { trustPolicy, verifier: noProofs, wrapsOf })
    expect(await contentsOf(rebuilt.state!)).toBe(await contentsOf(old.driver.state))
    const signed = cluster.groupStart(old.driver.ledger, endOf(old.driver), newReplicas)
    const { leaf } = await Ledger.startGeneration(rebuilt.state!, signed, rebuilt.policyChain!, ledgerOptions)
    expect(leaf.record).toEqual(next.driver.leaves[0]!.record)
  })

  test('rebuilds through a restore, and refuses wraps that are missing or that nobody signed', async () => {
    const options = { trustPolicy, verifier: noProofs, olderGenerations: [sourceOf(old.files)] }
    const rebuilt = await rebuildState(sourceOf(next.files), { ...options, wrapsOf })
    expect(await contentsOf(rebuilt.state!)).toBe(await contentsOf(next.driver.state))
    for (const bad of [undefined, new Uint8Array(10)]) {
      await expect(
        rebuildState(sourceOf(old.files), { trustPolicy, verifier: noProofs, wrapsOf: () => Promise.resolve(bad) }),
      ).rejects.toMatchObject({ code: 'ERR_BACKUP_WRAPS' })
    }
  })
})

describe('an audit of a log in which an entry was set aside', () => {
  async function quarantined(): Promise<{ driver: LedgerDriver; named: number; until: number }> {
    const driver = await LedgerDriver.start(cluster)
    const writer = new Writer(cluster)
    await driver.apply(writer.open())
    const poison = writer.bundle([writer.put('a', envelope)])
    const quarantine = cluster.quarantine({ index: driver.nextIndex, digest: sha256(poison.signed) })
    driver.ledger.lookAhead(quarantine.signed, driver.nextIndex + 2)
    await driver.apply(poison)
    await driver.mark()
    const [named, until] = [driver.leaves.length - 2, driver.leaves.length]
    await driver.apply(quarantine)
    await driver.mark()
    return { driver, named, until }
  }

  test('takes the verdict from the quarantine, and says so where the checkpoint does not cover it yet', async () => {
    const { driver, named, until } = await quarantined()
    expect(await audit(await published(driver, oldReplicas))).toMatchObject({
      valid: true,
      complete: true,
      findings: [],
    })
    driver.leaves.length = until
    driver.closed.pop()
    const early = await audit(await published(driver, oldReplicas))
    expect(early).toMatchObject({ valid: true, complete: false })
    expect(early.findings).toMatchObject([{ code: 'quarantine not covered yet', where: `leaf ${named}` }])
  })

  test('finds a quarantine whose entry was applied all the same, whatever a lying quorum signs', async () => {
    const driver = await LedgerDriver.start(cluster)
    const writer = new Writer(cluster)
    const opening = writer.open()
    const index = driver.nextIndex
    await driver.apply(opening)
    await driver.apply(new Writer(cluster, 'bob').open())
    await driver.mark()
    const quarantine = cluster.quarantine({ index, digest: sha256(opening.signed) })
    const leaves = driver.leaves.map(plainLeaf)
    const at = leaves.length - 2
    const record = decode(leafRecord, leaves[at]!.record)
    leaves[at] = {
      record: encode(leafRecord, {
        kind: leafKinds.quarantine,
        group: group0,
        logIndex: record.logIndex,
        logTime: record.logTime,
        digest: sha256(quarantine.signed),
      }),
      signed: quarantine.signed,
      body: new Uint8Array(0),
    }
    const forged = await forgeTrail(
      {
        origin: driver.ledger.origin,
        cluster,
        policyChain: driver.ledger.registry.policyChain(() => undefined),
        transitionSize: Infinity,
      },
      leaves,
    )
    const report = await audit(forged)
    // The leaf that it names says `applied`, which the rules no longer give.
    expect(report.problems).toMatchObject([{ code: 'ERR_AUDIT_REPLAY', where: `leaf ${at - 1}` }])
  })
})
