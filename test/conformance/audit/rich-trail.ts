/**
 * A trail with something of everything, made without a server: a real ledger drives a real trail store, replicas'
 * keys sign real notes, and counters carry real proofs. Over 300 leaves, so that full and upper tiles exist; with
 * a change of cosigners; with partial tiles of earlier publications left beside the full ones, as mirrors keep them.
 */
import { decode, encode, systemRandom, toHex, utf8 } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { encryptElgamal } from '@cipherlog/crypto/seal'
import {
  batchRecord,
  contextBytes,
  group0,
  leafKinds,
  policyChain as policyChainCodec,
  verdicts,
  type Seen,
  type TrustPolicy,
} from '@cipherlog/format'
import { type ClosedBatch, type Leaf } from '@cipherlog/machine'
import { CompactRange, cosignCheckpoint, signCheckpoint, assembleNote } from '@cipherlog/merkle/tree'
import { cosignatureKeyType, cosignerName, formatCheckpoint, formatVkey, leafHash } from '@cipherlog/merkle/verify'
import { createProver } from '@cipherlog/prover'
import { createMemoryDisk, openMemoryTrail } from '@cipherlog/storage'
import {
  createdAt,
  idOf,
  keyEvent,
  keyOf,
  opaque,
  seedOf,
  TestCluster,
  vector,
  Writer,
  type Command,
} from '../../../packages/machine/src/cluster.fixture.ts'
import { LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'

export const firstReplicas = ['r1', 'r2', 'r3']
export const laterReplicas = ['r2', 'r3', 'r4']
export const witnessName = 'witness.example/w1'

/** What a leaf brings into a trail. */
export interface PlainLeaf {
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly body: Uint8Array
}

export interface RichTrail {
  readonly cluster: TestCluster
  readonly origin: string
  readonly trustPolicy: TrustPolicy
  readonly leaves: readonly PlainLeaf[]
  readonly size: number
  readonly rootHash: Uint8Array
  /** Every file, as a copy holds it. */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** Size of the transition to {@link laterReplicas}. */
  readonly transitionSize: number
  readonly policyChain: Uint8Array
  /** Checkpoints of all batches. */
  readonly checkpoints: readonly Seen[]
  readonly proofs: number
}

/** A checkpoint note; a replica signs with both its keys, in this order. */
export function noteOf(
  origin: string,
  { treeSize, rootHash }: Seen,
  options: {
    logKeys?: readonly string[]
    cosigners: readonly string[]
    witnesses?: readonly string[]
    timeSeconds?: number
  },
): string {
  const {
    cosigners,
    logKeys = cosigners.slice(0, 1),
    witnesses = [],
    timeSeconds = createdAt / 1000 + treeSize,
  } = options
  const text = formatCheckpoint({ origin, size: treeSize, rootHash })
  const clusterName = origin.split('/').slice(0, -3).join('/')
  return assembleNote(text, [
    ...logKeys.map((replica) => signCheckpoint(text, { name: origin, secretKey: seedOf(`${replica} log`) })),
    ...cosigners.map((replica) =>
      cosignCheckpoint(text, {
        name: cosignerName(clusterName, toHex(idOf(replica))),
        secretKey: seedOf(`${replica} cosigner`),
        timeSeconds,
      }),
    ),
    ...witnesses.map((name) => cosignCheckpoint(text, { name, secretKey: seedOf(name), timeSeconds })),
  ])
}

export const witnessVkey = (name: string): string =>
  formatVkey({ name, type: cosignatureKeyType, publicKey: keyOf(name) })

/** A trail on a disk in memory: what a replica's trail store writes for these leaves. */
export async function storeTrail(
  leaves: readonly PlainLeaf[],
  publications: readonly { readonly checkpoint: string; readonly size: number; readonly policyChain: Uint8Array }[],
): Promise<Map<string, Uint8Array>> {
  const disk = createMemoryDisk()
  const trail = await openMemoryTrail(0, disk)
  const tree = new CompactRange()
  const files = new Map<string, Uint8Array>()
  let index = 0
  for (const { size, ...publication } of [...publications, { size: leaves.length, checkpoint: undefined }]) {
    for (; index < size; index++) {
      const { record, signed, body } = leaves[index]!
      const tiles: { level: number; index: number; hash: Uint8Array }[] = []
      tree.append(leafHash(record), (level, node, hash) => {
        if (level % 8 === 0) tiles.push({ level: level / 8, index: node, hash })
      })
      trail.append({ index, entry: record, signed, body, tiles })
    }
    if (publication.checkpoint === undefined) await trail.flush({ sync: true })
    else await trail.publish({ size, ...publication })
    // Partial tiles of this moment stay in the copy, as they do on a mirror.
    for (const path of disk.paths()) files.set(path, (await disk.readFile(path))!)
  }
  await trail.close()
  return files
}

export const plainLeaf = ({ record, signed, trailBody }: Leaf): PlainLeaf => ({ record, signed, body: trailBody })

/** A command of a counter with a real proof. */
async function proven(
  cluster: TestCluster,
  writer: Writer,
  value: bigint,
  namespace: string,
  prove: Prove,
): Promise<Command> {
  const { publicKey } = cluster.elgamal
  const { ciphertext, randomness } = encryptElgamal({ publicKey, amount: value, random: systemRandom })
  const { head } = writer.add('total', ciphertext, undefined, { namespace })
  const context = labelledHash(labels.context, contextBytes(cluster.id, writer.id, head))
  const proof = await prove({ bits: 32, amount: value, randomness, publicKey, ciphertext, context })
  return { head: { ...head, proof: { sha256: sha256(proof), bytes: proof.length } }, bodies: { ciphertext, proof } }
}
type Prove = ReturnType<typeof createProver>['proveSealedAmount']

/** Takes some seconds: three proofs are made. */
export async function buildRichTrail(): Promise<RichTrail> {
  const prover = createProver()
  try {
    return await build(await prover.verificationKey('sealed-amount-32'), (witness) => prover.proveSealedAmount(witness))
  } finally {
    await prover.close()
  }
}

async function build(verificationKey: Uint8Array, prove: Prove): Promise<RichTrail> {
  const cluster = await TestCluster.build({ vectors: true, verificationKey })
  const driver = await LedgerDriver.start(cluster)
  const published: ClosedBatch[] = [driver.closed[0]!, driver.closed.at(-1)!]
  const given: number[] = []
  const apply = async (proposal: Parameters<typeof driver.apply>[0]): Promise<void> => {
    given.push(...(await driver.apply(proposal)))
    driver.now += 7
  }
  const mark = async (): Promise<void> => void published.push((await driver.mark())!)

  const [alice, bob] = [new Writer(cluster), new Writer(cluster, 'bob')]
  const [envelope, bobsEnvelope] = [alice.envelope(), bob.envelope()]
  await apply(alice.open())
  await apply(bob.open())
  await apply(alice.bundle([envelope]))
  await apply(bob.bundle([bobsEnvelope]))
  for (let i = 0; i < 8; i++)
    await apply(alice.bundle([alice.put(`order ${i}`, envelope.id), alice.append(envelope.id)]))
  await mark()

  // Counters, with three real proofs, and a bad one that takes its neighbour along.
  await apply(
    alice.bundle([
      await proven(cluster, alice, 1999n, 'revenue', prove),
      await proven(cluster, alice, 1n, 'votes', prove),
    ]),
  )
  await apply(alice.bundle([await proven(cluster, alice, 23n, 'revenue', prove)]))
  // Names a keyset of another suite, whose keys no circuit takes.
  await apply(alice.bundle([alice.add('total', undefined, undefined, { keyset: idOf('latencies') })]))
  const badProof = opaque('bad proof', 128).fill(0xff, 0, 1)
  await apply(alice.bundle([alice.add('total', undefined, badProof), alice.add('total')]))
  // Vectors, up to one more than the slice takes.
  for (let i = 0; i < 4; i++)
    await apply(alice.bundle([alice.addVector('histogram', await vector(cluster, [i, -i, 3, 0]))]))
  await mark()

  // Rejections of every cheap kind.
  await apply(bob.bundle([bob.put('a', bobsEnvelope.id, { op: 'delete' }), bob.append(bobsEnvelope.id)]))
  await apply(alice.bundle([alice.put('a', envelope.id, { keyEpoch: 9 })]))
  await apply(alice.bundle([alice.put('a', opaque('no envelope', 32))]))
  await apply(alice.bundle([alice.put('a', envelope.id)], { notAfter: createdAt }))
  await apply(alice.bundle([alice.put('a', envelope.id), alice.put('b', opaque('none', 32))], { atomic: true }))
  await apply(alice.bundle([alice.add('total', new Uint8Array(128).fill(7))]))
  await apply(alice.bundle([alice.put('a', envelope.id, { suite: 2 })]))
  await apply(bob.bundle([bob.put('large', bobsEnvelope.id, {}, opaque('large', 4_001))]))
  await apply(bob.open({ seen: { treeSize: 2, rootHash: opaque('other root', 32) } }))
  await apply(keyEvent(cluster.event({ type: 'revokeClient', client: bob.id, reason: 'left' })))
  bob.session = 1
  bob.nextSequence = 5
  await apply(bob.bundle([bob.put('late', bobsEnvelope.id)]))
  await mark()

  // A batch that closes by rule, at its 255th leaf.
  for (let i = 0; i < 258; i++) await apply(alice.bundle([alice.put(`bulk ${i}`, envelope.id)]))
  await mark()

  await apply(keyEvent(cluster.event(cluster.cosignerSet(laterReplicas))))
  await apply(alice.bundle([alice.append(envelope.id)]))
  await mark()
  const transitionSize = published.at(-1)!.size
  for (let i = 0; i < 6; i++) await apply(alice.bundle([alice.append(envelope.id)]))
  await mark()

  expectAllKinds(given)
  const { origin } = driver.ledger
  const signersOf = (size: number): Parameters<typeof noteOf>[2] =>
    size < transitionSize
      ? { cosigners: firstReplicas, witnesses: [witnessName] }
      : size > transitionSize
        ? { cosigners: laterReplicas, witnesses: [witnessName] }
        : { logKeys: ['r1', 'r4'], cosigners: [...firstReplicas, 'r4'], witnesses: [witnessName] }
  const checkpoints = driver.closed.map(({ size, rootHash }): Seen => ({ treeSize: size, rootHash }))
  const note = (size: number): string =>
    noteOf(
      origin,
      checkpoints.find(({ treeSize }) => treeSize === size)!,
      signersOf(size),
    )
  const policyChainAt = (size: number): Uint8Array =>
    driver.ledger.registry.policyChain((transition) => (transition <= size ? note(transition) : undefined))
  const leaves = driver.leaves.map(plainLeaf)
  const sizes = published.map(({ size }) => size)
  const files = await storeTrail(
    leaves,
    sizes.map((size) => ({ size, checkpoint: note(size), policyChain: policyChainAt(size) })),
  )
  files.set('checkpoint.witnessed', utf8(note(transitionSize)))
  const { treeSize: size, rootHash } = checkpoints.at(-1)!
  return {
    cluster,
    origin,
    trustPolicy: { version: 1, cluster: cluster.id, group: group0, generation: 0, witnesses: [], witnessesRequired: 0 },
    leaves,
    size,
    rootHash,
    files,
    transitionSize,
    policyChain: policyChainAt(size),
    checkpoints,
    proofs: 5,
  }
}

/** A generator that silently stops making one of the kinds would make every test below weaker. */
function expectAllKinds(given: readonly number[]): void {
  const {
    applied,
    notAfter,
    revoked,
    grant,
    epoch,
    envelope,
    seen,
    proof,
    notVerified,
    gate,
    rotationDue,
    limit,
    atomic,
    command,
  } = verdicts
  for (const verdict of [
    applied,
    notAfter,
    revoked,
    grant,
    epoch,
    envelope,
    seen,
    proof,
    notVerified,
    gate,
    rotationDue,
    limit,
    atomic,
    command,
  ]) {
    if (!given.includes(verdict)) throw new Error(`the trail has no verdict ${verdict}`)
  }
}

/** The trail of an attacker who holds the keys of all replicas: its leaves, with batch roots and every note made to fit. */
export async function forgeTrail(
  {
    origin,
    cluster,
    policyChain,
    transitionSize,
  }: Pick<RichTrail, 'origin' | 'cluster' | 'policyChain' | 'transitionSize'>,
  leaves: readonly PlainLeaf[],
): Promise<Map<string, Uint8Array>> {
  const fitted = withBatchRoots(leaves)
  const tree = new CompactRange()
  let transition: Seen | undefined
  for (const { record } of fitted) {
    tree.append(leafHash(record))
    if (tree.size === transitionSize) transition = { treeSize: tree.size, rootHash: tree.root() }
  }
  const last = { treeSize: fitted.length, rootHash: tree.root() }
  const [, links] = decode(policyChainCodec, policyChain)
  const signers = { logKeys: ['r1', 'r4'], cosigners: [...firstReplicas, 'r4'] }
  const chain = encode(policyChainCodec, [
    cluster.signedGenesis,
    transition === undefined
      ? []
      : links.map((link) => ({ ...link, transitionCheckpoint: noteOf(origin, transition, signers) })),
  ])
  const cosigners = last.treeSize > transitionSize ? laterReplicas : firstReplicas
  const checkpoint =
    last.treeSize === transitionSize ? noteOf(origin, last, signers) : noteOf(origin, last, { cosigners })
  return storeTrail(fitted, [{ size: last.treeSize, checkpoint, policyChain: chain }])
}

/** Batch records of changed leaves: those whose root is no longer that of their batch get the right one. */
function withBatchRoots(leaves: readonly PlainLeaf[]): PlainLeaf[] {
  let batch = new CompactRange()
  return leaves.map((leaf) => {
    if (leaf.record[2] !== leafKinds.batchRecord) {
      batch.append(leafHash(leaf.record))
      return leaf
    }
    const batchRoot = batch.root()
    batch = new CompactRange()
    return { ...leaf, record: encode(batchRecord, { ...decode(batchRecord, leaf.record), batchRoot }) }
  })
}
