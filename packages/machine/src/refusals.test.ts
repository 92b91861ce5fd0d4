import { bigintToBytes, bytesToBigint, concatBytes, decode, encode, utf8 } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { signLabelled } from '@cipherlog/crypto/signature'
import { entryKinds, signedCommandBundle, type CommandBundle } from '@cipherlog/format'
import { ed25519 } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { describe, expect, test } from 'vitest'
import { createdAt, idOf, keyEvent, keyOf, opaque, seedOf, TestCluster, Writer } from './cluster.fixture.ts'
import { contentsOf, LedgerDriver } from './ledger-driver.fixture.ts'
import { type Proposal } from './entry.ts'

const cluster = await TestCluster.build()

/** A cluster on which alice has session 1 open, with an envelope, at sequence 2. */
async function started() {
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  const envelope = alice.envelope()
  await driver.apply(alice.open())
  await driver.apply(alice.bundle([envelope]))
  return { driver, alice, envelope: envelope.id }
}
type Started = Awaited<ReturnType<typeof started>>

const changed =
  (changes: Partial<CommandBundle>) =>
  ({ alice, envelope }: Started): Proposal =>
    alice.bundle([alice.put('a', envelope)], changes)

/** The next bundle with its body changed after it was signed. */
const withBody =
  (change: (body: Uint8Array) => Uint8Array) =>
  ({ alice, envelope }: Started): Proposal => {
    const bundle = alice.bundle([alice.put('a', envelope)])
    return { ...bundle, body: change(bundle.body) }
  }

/** The next bundle under another signature. */
const withSignature =
  (sign: (bytes: Uint8Array) => Uint8Array) =>
  ({ alice, envelope }: Started): Proposal => {
    const bundle = alice.bundle([alice.put('a', envelope)])
    const [bytes] = decode(signedCommandBundle, bundle.signed)
    return { ...bundle, signed: encode(signedCommandBundle, [bytes, sign(bytes)]) }
  }

const flipped = (bytes: Uint8Array, at = 0): Uint8Array => {
  const out = bytes.slice()
  out[at]! ^= 1
  return out
}

/** Signs as alice with a point of order 2 added to R: it holds under the equation with a cofactor, and only there. */
function signWithTorsion(bytes: Uint8Array): Uint8Array {
  const { Point } = ed25519
  const littleEndian = (value: bigint) => bigintToBytes(value, 32).reverse()
  const { scalar } = ed25519.utils.getExtendedPublicKey(seedOf('alice'))
  const order2 = Point.fromAffine({ x: 0n, y: Point.Fp.ORDER - 1n })
  const message = concatBytes(utf8(labels.bundle), Uint8Array.of(0), sha256(bytes))
  const r = Point.BASE.multiply(12345n).add(order2).toBytes()
  const k = bytesToBigint(sha512(concatBytes(r, keyOf('alice'), message)).reverse()) % Point.Fn.ORDER
  return concatBytes(r, littleEndian((12345n + k * scalar) % Point.Fn.ORDER))
}

const cases: Readonly<Record<string, readonly [code: string, proposal: (started: Started) => Proposal]>> = {
  'of a kind that nobody proposes': [
    'ERR_KIND',
    ({ alice }) => ({ ...alice.open({ number: 2 }), kind: entryKinds.mark }),
  ],
  'that is no CBOR': ['ERR_DECODE_', (s) => ({ ...changed({})(s), signed: utf8('a bundle') })],
  'with a trailing byte': [
    'ERR_DECODE_',
    (s) => {
      const bundle = changed({})(s)
      return { ...bundle, signed: concatBytes(bundle.signed, Uint8Array.of(0)) }
    },
  ],
  'whose body is a byte short': ['ERR_DECODE_BODY', withBody((body) => body.subarray(1))],
  'whose body is a byte long': ['ERR_DECODE_BODY', withBody((body) => concatBytes(body, Uint8Array.of(0)))],
  'whose body has another digest': ['ERR_BODY_DIGEST', withBody((body) => flipped(body))],
  'whose wraps are no wraps': [
    'ERR_DECODE_',
    ({ alice }) => {
      const { head } = alice.envelope({ subject: 'one' })
      return alice.bundle([alice.command(head, { wraps: opaque('no wraps', 1300) })])
    },
  ],
  'for another cluster': ['ERR_OTHER_CLUSTER', changed({ cluster: opaque('another', 32) })],
  'for another group': ['ERR_OTHER_GROUP', changed({ group: opaque('another', 16) })],
  'for another generation': ['ERR_OTHER_GROUP', changed({ generation: 1 })],
  'that knows a newer registry': ['ERR_REGISTRY_AHEAD', changed({ registry: cluster.setup.length + 1 })],
  'of an unknown client': ['ERR_CLIENT_UNKNOWN', changed({ client: idOf('nobody') })],
  'signed by another client': [
    'ERR_SIGNATURE',
    withSignature((bytes) => signLabelled(seedOf('bob'), labels.bundle, bytes)),
  ],
  'signed under another label': [
    'ERR_SIGNATURE',
    withSignature((bytes) => signLabelled(seedOf('alice'), labels.openSession, bytes)),
  ],
  'whose signature has torsion in R': ['ERR_SIGNATURE', withSignature(signWithTorsion)],
  'in a session that was never opened': ['ERR_SESSION_UNKNOWN', changed({ session: 2, firstSequence: 1 })],
  'that leaves a gap': ['ERR_SEQUENCE_GAP', changed({ firstSequence: 3 })],
  'that repeats a sequence with other bytes': ['ERR_SEQUENCE_CONFLICT', changed({ firstSequence: 1 })],
  'to open a session for another cluster': [
    'ERR_OTHER_CLUSTER',
    ({ alice }) => alice.open({ cluster: opaque('another', 32) }),
  ],
  'to open a session in another group': [
    'ERR_OTHER_GROUP',
    ({ alice }) => alice.open({ group: opaque('another', 16) }),
  ],
  'to open a session in another generation': ['ERR_OTHER_GROUP', ({ alice }) => alice.open({ generation: 1 })],
  'to open a session of an unknown client': ['ERR_CLIENT_UNKNOWN', () => new Writer(cluster, 'nobody').open()],
  'to open a session signed by another client': ['ERR_SIGNATURE', ({ alice }) => alice.open({}, { signer: 'bob' })],
  'to open a session with a body beside it': [
    'ERR_DECODE_BODY',
    ({ alice }) => ({ ...alice.open(), body: Uint8Array.of(0) }),
  ],
  'to open an open session with other bytes': [
    'ERR_SESSION_EXPIRED',
    ({ alice }) => alice.open({ number: 1, notAfter: createdAt + 1 }),
  ],
  'of a key event with a body beside it': [
    'ERR_DECODE_BODY',
    () => ({
      ...keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false })),
      body: Uint8Array.of(0),
    }),
  ],
  'of a key event that is no CBOR': ['ERR_REGISTRY_UNDECODABLE', () => keyEvent(utf8('an event'))],
  'of a key event with too few signatures': [
    'ERR_REGISTRY_SIGNATURES',
    () => keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false, signers: [0] })),
  ],
  'of a key event with a gap before it': [
    'ERR_REGISTRY_NUMBER',
    () => {
      const { head } = cluster.position
      const after = { ...cluster.position, head: { ...head, number: head.number + 1 } }
      return keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false, after }))
    },
  ],
  'of a key event on another chain': [
    'ERR_REGISTRY_PREVIOUS',
    () => {
      const { head } = cluster.position
      const after = { ...cluster.position, head: { ...head, digest: opaque('another', 32) } }
      return keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false, after }))
    },
  ],
  'of a key event after its time': [
    'ERR_REGISTRY_EXPIRED',
    () => keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false, notAfter: createdAt })),
  ],
  'of a key event whose signers saw what is not on this log': [
    'ERR_REGISTRY_SEEN',
    () => {
      const seen = { treeSize: 2, rootHash: opaque('another root', 32) }
      return keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false, seen }))
    },
  ],
  'of a key event for what does not exist': [
    'ERR_REGISTRY_UNKNOWN',
    () => keyEvent(cluster.event({ type: 'revokeClient', client: idOf('zoe'), reason: 'gone' }, { keep: false })),
  ],
}

describe('a refused proposal leaves no leaf and no state, also when it was committed:', () => {
  test.each(Object.entries(cases))('one %s', async (_name, [code, make]) => {
    const context = await started()
    const { driver } = context
    driver.now += 1
    const proposal = make(context)
    const before = await contentsOf(driver.state)
    const { treeSize } = driver.ledger

    const outcome = await driver.commit(proposal)

    expect(outcome.outcome).toBe('refused')
    if (outcome.outcome === 'refused') expect(outcome.error.code).toContain(code)
    expect(driver.ledger.treeSize).toBe(treeSize)
    expect(await contentsOf(driver.state)).toBe(before)
    expect(driver.ledger.appliedIndex).toBe(driver.entries.length)

    // And nothing was held against the writer: what should have come is applied.
    const alice = new Writer(cluster)
    alice.session = 1
    alice.nextSequence = 2
    expect(await driver.apply(alice.bundle([alice.put('b', context.envelope)]))).toEqual([0])
  })

  test('one above the limits of the genesis, at the limit and one past', async () => {
    const small = await TestCluster.build({ limits: { bodiesBytesMax: 1024, bundleBytesMax: 1024 } })
    const driver = await LedgerDriver.start(small)
    const writer = new Writer(small)
    await driver.apply(writer.open())
    const bundleOf = (bodies: number[], heads = {}) =>
      writer.bundle(
        bodies.map((bytes, i) => writer.put(`${i}`, opaque('e', 32), heads, new Uint8Array(bytes))),
        { firstSequence: 1 },
      )
    const codeOf = async (proposal: Proposal) => {
      const plan = driver.ledger.plan(proposal)
      return plan.outcome === 'refused' ? plan.error.code : plan.outcome
    }
    expect(await codeOf(bundleOf([1000, 24]))).toBe('accepted')
    expect(await codeOf(bundleOf([1000, 25]))).toBe('ERR_TOO_LARGE')
    // Each further head makes the bundle bytes grow; a key of the right length meets the limit exactly.
    const lengthWith = (keyBytes: number) =>
      decode(signedCommandBundle, bundleOf([100, 100, 100], { key: new Uint8Array(keyBytes) }).signed)[0].length
    const keyBytes = [...Array(400).keys()].find((length) => length > 0 && lengthWith(length) > 1024)!
    expect(await codeOf(bundleOf([100, 100, 100], { key: new Uint8Array(keyBytes - 1) }))).toBe('accepted')
    expect(await codeOf(bundleOf([100, 100, 100], { key: new Uint8Array(keyBytes) }))).toBe('ERR_TOO_LARGE')
  })

  test('also one whose wraps put it above the limit, in a replay that has no wraps', async () => {
    const small = await TestCluster.build({ limits: { bodiesBytesMax: 2048 } })
    const driver = await LedgerDriver.start(small)
    const writer = new Writer(small)
    await driver.apply(writer.open())
    const proposal = writer.bundle([writer.envelope({ count: 2 })])
    expect(proposal.body.length).toBeGreaterThan(2048)
    const replayed = { ...proposal, body: new Uint8Array(0), wrapsIncluded: false }
    for (const plan of [driver.ledger.plan(proposal), driver.ledger.plan(replayed)]) {
      expect(plan).toMatchObject({ outcome: 'refused', error: { code: 'ERR_TOO_LARGE' } })
    }
  })
})

test('all reasons for refusal come before the first verdict: a rejected command does not excuse a bad one beside it', async () => {
  const { driver, alice, envelope } = await started()
  const bundle = alice.bundle([alice.put('a', envelope, { namespace: 'unknown' }), alice.put('b', envelope)])
  const outcome = await driver.commit({ ...bundle, body: flipped(bundle.body, bundle.body.length - 1) })
  expect(outcome).toMatchObject({ outcome: 'refused', error: { code: 'ERR_BODY_DIGEST', details: { command: 1 } } })
})

test('a plan changes nothing, however often it is made', async () => {
  const { driver, alice, envelope } = await started()
  const proposal = alice.bundle([alice.put('a', envelope), alice.add('total')])
  const before = await contentsOf(driver.state)
  for (let i = 0; i < 3; i++) {
    expect(driver.ledger.plan(proposal)).toMatchObject({ outcome: 'accepted', proofs: [{ command: 1 }] })
    expect(driver.ledger.plan({ ...proposal, body: proposal.body.subarray(1) }).outcome).toBe('refused')
  }
  expect(await contentsOf(driver.state)).toBe(before)
  expect(await driver.apply(proposal)).toEqual([0, 0])
})

test('damage to the replica’s own records stops it instead of refusing what other replicas apply', async () => {
  const { driver, alice, envelope } = await started()
  const damaged = driver.state
  const get = damaged.get.bind(damaged)
  // The record of the open session: 's', client, number.
  damaged.get = (key) => (key[0] === 0x73 ? get(key)?.subarray(1) : get(key))
  expect(() => driver.ledger.plan(alice.bundle([alice.put('a', envelope)]))).toThrow(/damaged record/)
})
