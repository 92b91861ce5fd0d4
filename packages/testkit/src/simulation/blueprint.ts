/**
 * What a simulated cluster begins with: replicas' keys, a genesis, and the chain of key events that sets up clients,
 * keysets and namespaces, signed in one sitting as operators may. Everything follows from the number of replicas,
 * so that it is made once for many seeds.
 */
import { concatBytes, utf8, type Clock, type Random } from '@cipherlog/core'
import { Keyring, type AmountProver, type Identity } from '@cipherlog/client'
import { createGenesis, makeKeyVersion, memberOf, readerOf } from '@cipherlog/client/operator'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import {
  entryKinds,
  formatVersion,
  readPolicies,
  roles,
  suites,
  type CosignerMember,
  type KeyOperation,
  type NodeKeys,
  type Suite,
  type TrustPolicy,
} from '@cipherlog/format'
import { createMemoryState, Ledger, type LedgerOptions, type Proposal } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { sealedAmountStatement } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import {
  buildKeyEvent,
  positionAfter,
  possessionOf,
  readySignature,
  signKeyEvent,
  type ChainPosition,
  type OperatorSigner,
} from '@cipherlog/registry'
import { Prng } from '../prng.ts'
import { epochMs } from './virtual-globals.ts'

/** Namespaces of every simulated cluster, by what they hold. */
export const namespaces = { kv: 'orders', log: 'events', counter: 'revenue' } as const
const circuit = 'sealed-amount-32'
const eventMsMax = 3_600_000
/** Low, so that there are many snapshots. */
const snapshotEveryLeaves = 10
/** Clients on the log; the last of them may be revoked in a run. */
const clientsMax = 4

/** Vectors need a library that cannot be seeded: there are none. */
export const ledgerOptions: LedgerOptions = {
  evaluator: { add: () => Promise.reject(new Error('a simulated cluster has no vectors')) },
  rootOfBatch,
}

/** A key whose trapdoor makes valid proofs from a seed. */
const trapdoor = createTrapdoorKey(utf8('simulation'))

/** Proofs under {@link trapdoor}, in no time. */
export const trapdoorProver: AmountProver = {
  proveSealedAmount: ({ publicKey, ciphertext, context }) =>
    Promise.resolve(trapdoor.prove(sealedAmountStatement({ ciphertext, publicKey, context }), utf8('simulated proof'))),
  close: () => Promise.resolve(),
}

/** A proof that decodes, under {@link trapdoor}, of something else than anybody states here. */
export function foreignProof(): Uint8Array {
  return trapdoor.prove(new Uint8Array(32).fill(1), utf8('another statement'))
}

export interface Blueprint {
  /** Names of the replicas, and their keys in the same order. */
  readonly names: readonly string[]
  readonly nodeKeys: readonly NodeKeys[]
  readonly signedGenesis: Uint8Array
  readonly trustPolicy: TrustPolicy
  readonly cluster: Uint8Array
  readonly createdAt: number
  readonly maxClockErrorMs: number
  readonly batchIntervalMs: number
  readonly operator: OperatorSigner
  /** Key events to propose first, in order. */
  readonly setup: readonly Proposal[]
  /** Name key, and the keys of all versions: what every reader of a run starts with. */
  readonly keyring: () => Keyring
  readonly keysets: { readonly records: Uint8Array; readonly amounts: Uint8Array }
  readonly clients: readonly Identity[]
}

export function randomOf(prng: Prng): Random {
  return {
    bytes(length) {
      const out = new Uint8Array(length)
      for (let at = 0; at < length; at++) out[at] = prng.uint32() & 0xff
      return out
    },
  }
}

/** Keys of a replica: `incarnation` counts the disks that a name has had. */
export function nodeKeysOf(name: string, incarnation = 0): NodeKeys {
  const random = randomOf(new Prng(seedOfText(`${name} ${incarnation}`)))
  const peerId = concatBytes(random.bytes(12), Uint8Array.of(0, 0, 0, incarnation))
  const [tls, log, cosigner, answer] = [random.bytes(32), random.bytes(32), random.bytes(32), random.bytes(32)]
  return { version: formatVersion, peerId, tls, log, cosigner, answer }
}

export function memberOfKeys({ peerId, tls, log, cosigner, answer }: NodeKeys): CosignerMember {
  return {
    peerId,
    tlsKey: publicKeyOf(tls),
    logKey: publicKeyOf(log),
    cosignerKey: publicKeyOf(cosigner),
    answerKey: publicKeyOf(answer),
  }
}

function seedOfText(text: string): number {
  return [...utf8(text)].reduce((seed, byte) => (Math.imul(seed, 31) + byte) >>> 0, 7)
}

const made = new Map<number, Promise<Blueprint>>()

/** The blueprint of a cluster of `size` replicas. */
export function blueprintOf(size: number): Promise<Blueprint> {
  let blueprint = made.get(size)
  if (blueprint === undefined) made.set(size, (blueprint = makeBlueprint(size)))
  return blueprint
}

async function makeBlueprint(size: number): Promise<Blueprint> {
  const random = randomOf(new Prng(size))
  const names = Array.from({ length: size }, (_, i) => `r${i + 1}`)
  const nodeKeys = names.map((name) => nodeKeysOf(name))
  const operator: OperatorSigner = { index: 0, secretKey: random.bytes(32) }
  const clock: Clock = { now: () => epochMs, monotonic: () => 0 }
  const { signedGenesis, genesis, cluster, trustPolicy } = await createGenesis({
    name: 'simulation.example/ledger',
    mode: 'development',
    members: nodeKeys.map(memberOfKeys),
    answerPossession: (claim) => possessionOf(nodeKeys[claim.index]!.answer, roles.answer, claim.cluster),
    operators: { threshold: 1, secretKeys: [operator.secretKey] },
    circuits: [{ id: circuit, r1cs: new Uint8Array(32).fill(1), verificationKey: trapdoor.verificationKey }],
    limits: { snapshotEveryLeaves },
    clock,
  })
  const { closed } = await Ledger.create(createMemoryState(), signedGenesis, ledgerOptions)
  const seen = { treeSize: closed.size, rootHash: closed.rootHash }

  const setup: Proposal[] = []
  let position: ChainPosition = { cluster, operatorSetVersion: 0, head: { number: 0, digest: cluster } }
  const add = (operation: KeyOperation): void => {
    const bytes = buildKeyEvent({ after: position, operation, seen, notAfter: epochMs + eventMsMax })
    position = positionAfter(bytes)
    setup.push({ kind: entryKinds.keyEvent, signed: signKeyEvent(bytes, [operator]), body: new Uint8Array(0) })
  }

  const keyring = new Keyring()
  keyring.addNameKey(cluster, random)
  const addKeyset = async (suite: Suite): Promise<Uint8Array> => {
    const keyset = random.bytes(16)
    const members = [await memberOf(keyring, cluster, random)]
    const readers = [{ keyring, member: 0 }]
    const keyEpoch = 1
    const version = await makeKeyVersion({ cluster, keyset, keyEpoch, suite, members, readers, random })
    add({ type: 'createKeyset', keyset, suite, members, readyMin: 1, version })
    const { signingKey } = readerOf(keyring, cluster, random)
    const ready = readySignature(signingKey, { cluster, keyset, keyEpoch, version })
    add({ type: 'activateKeyVersion', keyset, keyEpoch, ready: [[0, ready]], graceMs: 0 })
    return keyset
  }
  const records = await addKeyset(suites.hpkeXwing)
  const amounts = await addKeyset(suites.elgamalBjj)
  const readPolicy = readPolicies.public
  const suite = suites.hpkeXwing
  add({ type: 'createNamespace', name: namespaces.kv, machine: 'kv', suite, keyset: records, readPolicy })
  add({ type: 'createNamespace', name: namespaces.log, machine: 'log', suite, keyset: records, readPolicy })
  add({
    type: 'createNamespace',
    name: namespaces.counter,
    machine: 'counter',
    suite: suites.elgamalBjj,
    keyset: amounts,
    readPolicy,
    circuit,
  })
  const clients = Array.from({ length: clientsMax }, (): Identity => {
    const [client, secretKey] = [random.bytes(16), random.bytes(32)]
    const possession = possessionOf(secretKey, roles.client, cluster)
    add({
      type: 'addClient',
      client,
      publicKey: publicKeyOf(secretKey),
      possession,
      grants: [{ namespaces: '*', operations: ['envelope', 'append', 'put', 'delete', 'add'] }],
    })
    return { client, secretKey }
  })
  const { entries } = keyring
  return {
    names,
    nodeKeys,
    signedGenesis,
    trustPolicy,
    cluster,
    createdAt: genesis.createdAt,
    maxClockErrorMs: genesis.limits.maxClockErrorMs,
    batchIntervalMs: genesis.limits.batchIntervalMs,
    operator,
    setup,
    keyring: () => new Keyring(entries),
    keysets: { records, amounts },
    clients,
  }
}
