import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { decode, encode, systemRandom, utf8 } from '@cipherlog/core'
import { loadBfvClient } from '@cipherlog/crypto/seal'
import { sha256 } from '@cipherlog/crypto/hash'
import { batchRecord, cellProof, suites, type Circuit } from '@cipherlog/format'
import { sealedAmountStatement } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import { verifyCellProof } from './cell-proof.ts'
import { type Cipherlog } from './cipherlog.ts'
import { type ProvenCell } from './connection.ts'
import { Keyring } from './keyring.ts'
import { Operator } from './operator/operator.ts'
import { type AmountProver } from './prover.ts'
import { flipped } from './test-bytes.fixture.ts'
import { testGenesis, TestLog, type Intercept } from './test-log.fixture.ts'
import { everything } from './test-world.fixture.ts'
import { startHead, withBodies } from './seal-command.ts'

/** Real proofs, checked by the log, in milliseconds: of a key whose trapdoor is known. */
const trapdoor = createTrapdoorKey(sha256(utf8('client tests')))
const circuits: Circuit[] = [
  { id: 'sealed-amount-32', r1cs: sha256(utf8('r1cs')), verificationKey: trapdoor.verificationKey },
]
const prover: AmountProver = {
  proveSealedAmount: ({ ciphertext, publicKey, context }, { onProgress } = {}) => {
    onProgress?.('proving')
    const statement = sealedAmountStatement({ ciphertext, publicKey, context })
    return Promise.resolve(trapdoor.prove(statement, systemRandom.bytes(32)))
  },
  close: () => Promise.resolve(),
}
const limits = { length: 4, maxAbs: 100, maxCount: 100 }

let testLog: TestLog
let operator: Operator
let log: Cipherlog
let amounts: Uint8Array
let vectors: Uint8Array
const keyring = new Keyring()
const secondReader = new Keyring()
const pass: Intercept = (_call, next) => next()

beforeAll(async () => {
  testLog = await TestLog.create(await testGenesis({ replicas: 1, circuits }))
  const { cluster } = testLog.trustPolicy
  secondReader.add(keyring.addNameKey(cluster, systemRandom))
  operator = new Operator(await testLog.connect({ keyring }), { signers: [testLog.genesis.operator] })
  await operator.addClient({ grants: [everything], keyring })
  const readers = [keyring, secondReader]
  amounts = (await operator.createKeyset({ suite: suites.elgamalBjj, readers })).keyset
  vectors = (await operator.createKeyset({ suite: suites.bfv2048, readers: [keyring] })).keyset
  for (const [name, keyset] of [
    ['revenue', amounts],
    ['costs', amounts],
  ] as const) {
    const suite = suites.elgamalBjj
    await operator.createNamespace({ name, machine: 'counter', suite, keyset, circuit: 'sealed-amount-32' })
  }
  const suite = suites.bfv2048
  await operator.createNamespace({ name: 'latency', machine: 'vector', suite, keyset: vectors, vector: limits })
  log = await testLog.connect({ keyring, prover })
})
afterEach(() => {
  testLog.intercept = pass
})

/** What the replica proves of a cell, as it travels. */
async function provenCell(namespace: string, cell = ''): Promise<{ proof: ProvenCell; key: Uint8Array }> {
  let seen: ProvenCell | undefined
  testLog.intercept = async ({ method }, next) => {
    const answer = await next()
    if (method === 'cell') seen = answer as ProvenCell
    return answer
  }
  await (namespace === 'latency' ? log.vector(namespace) : log.counter(namespace)).read({ cell })
  testLog.intercept = pass
  return { proof: seen!, key: decode(cellProof, seen!.cellProof).cell.key }
}

describe('counters', () => {
  test('amounts add up on the log, and only the readers learn the sum', async () => {
    const stages: string[] = []
    await log.counter('revenue').add(1999n, { cell: 'a', onProgress: (stage) => stages.push(stage) })
    await log.counter('revenue').add(2n ** 32n - 1n, { cell: 'a' })
    expect(stages).toEqual(['proving'])
    const reading = await log.counter('revenue').read({ cell: 'a' })
    expect(reading).toMatchObject({ value: 2n ** 32n + 1998n, count: 2, treeSize: testLog.size })
    expect(reading!.position).toMatch(/#\d+$/)
    await log.counter('revenue').add(1n, { cell: 'a' })
    // From the sum opened last, upward.
    expect(await log.counter('revenue').read({ cell: 'a' })).toMatchObject({ value: 2n ** 32n + 1999n, count: 3 })
  })

  test('a cell that nobody added to is not there', async () => {
    expect(await log.counter('revenue').read({ cell: 'never' })).toBeUndefined()
  })

  test.each([-1n, 2n ** 32n])('the amount %s is refused before anything is encrypted', async (amount) => {
    testLog.calls.length = 0
    await expect(log.counter('revenue').add(amount)).rejects.toThrow(RangeError)
    expect(testLog.calls).toEqual([])
  })

  test('each slice is opened by the key of its epoch, and the slices are added', async () => {
    await log.counter('costs').add(40n, { cell: 'rotated' })
    await operator.rotateKey({ keyset: amounts, readers: [keyring], graceMs: 0 })
    await log.counter('costs').add(2n, { cell: 'rotated' })
    expect(await log.counter('costs').read({ cell: 'rotated' })).toMatchObject({ value: 42n, count: 2 })
    const { proof } = await provenCell('costs', 'rotated')
    expect(decode(cellProof, proof.cellProof).cell.slices.map(({ keyEpoch }) => keyEpoch)).toEqual([1, 2])
  })

  test('another reader opens by the shares in the key events; who has none is told so', async () => {
    await log.counter('revenue').add(7n, { cell: 'shared' })
    const second = await testLog.connect({ keyring: secondReader })
    expect(await second.counter('revenue').read({ cell: 'shared' })).toMatchObject({ value: 7n })
    const stranger = await testLog.connect({ keyring: new Keyring(keyring.of('nameKey', log.cluster)) })
    await expect(stranger.counter('revenue').read({ cell: 'shared' })).rejects.toMatchObject({
      code: 'ERR_KEY_MISSING',
    })
  })

  test('a forged proof is refused, and no sum changes', async () => {
    await log.counter('revenue').add(1n, { cell: 'forged' })
    const command = await log.counter('revenue').sealAdd(5n, { cell: 'forged' })
    const proof = trapdoor.prove(sha256(utf8('another statement')).fill(0, 0, 1), sha256(utf8('seed')))
    const bundle = await log.lowLevel.sealBundle([log.lowLevel.replaceBodies(command, { ...command.bodies, proof })])
    await expect(log.lowLevel.proposeBundle(bundle)).rejects.toMatchObject({ code: 'ERR_PROOF', name: 'RefusedError' })
    expect(await log.counter('revenue').read({ cell: 'forged' })).toMatchObject({ value: 1n, count: 1 })
  })
})

describe('vectors', () => {
  test('vectors add up place by place, negative values too', async () => {
    await log.vector('latency').add([1, 2, 3, -4], { cell: 'sums' })
    await log.vector('latency').add([10, -20], { cell: 'sums' })
    expect(await log.vector('latency').read({ cell: 'sums' })).toMatchObject({ values: [11, -18, 3, -4], count: 2 })
  })

  test.each([[[1, 2, 3, 4, 5]], [[101]], [[-101]], [[0.5]], [[Number.NaN]]])(
    '%j is refused before anything is sent',
    async (values) => {
      testLog.calls.length = 0
      await expect(log.vector('latency').add(values)).rejects.toThrow(RangeError)
      expect(testLog.proposals(3)).toEqual([])
    },
  )

  test.each([
    ['a sum beyond count × maxAbs', [200]],
    ['a value behind length', [0, 0, 0, 0, 1]],
  ])('%s fails the cell with one fixed error', async (what, values) => {
    await log.vector('latency').add([1], { cell: what })
    // A writer that breaks its bounds: the log cannot see it.
    const { registry } = log.view.current
    const publicKey = registry.keyset(vectors)!.versions.get(1)!.version.publicKey!
    const key = decode(cellProof, (await provenCell('latency', what)).proof.cellProof).cell.key
    const namespace = registry.namespace('latency')!
    const head = startHead({ namespace, op: 'add', keyEpoch: 1, random: systemRandom, key })
    const ciphertext = (await loadBfvClient(suites.bfv2048)).encrypt({ publicKey, values })
    const bundle = await log.lowLevel.sealBundle([withBodies(head, { ciphertext })])
    expect((await log.lowLevel.proposeBundle(bundle)).verdictNames).toEqual(['applied'])
    const error = await log
      .vector('latency')
      .read({ cell: what })
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'ERR_CELL_FAILED', details: {} })
    expect((error as Error).cause).toBeUndefined()
  })
})

describe('what a replica says of a cell', () => {
  test('verifyCellProof() takes the cell that was asked for, of the state that the batch record names', async () => {
    await log.counter('revenue').add(1n, { cell: 'proof' })
    await log.counter('revenue').add(1n, { cell: 'another' })
    const { proof, key } = await provenCell('revenue', 'proof')
    const { cell } = verifyCellProof(proof, { namespace: 'revenue', key })
    expect(cell.slices).toHaveLength(1)
    const other = (await provenCell('revenue', 'another')).key
    expect(() => verifyCellProof(proof, { namespace: 'revenue', key: other })).toThrow(/another one/)
    expect(() => verifyCellProof(proof, { namespace: 'costs', key })).toThrow(/another one/)
  })

  test.each(['number', 'count', 'bound', 'sum', 'chain', 'epoch', 'path', 'cellCount', 'stateRoot', 'no root'])(
    'verifyCellProof() rejects another %s',
    async (part) => {
      await log.counter('revenue').add(1n, { cell: 'proof' })
      await log.counter('revenue').add(1n, { cell: 'another' })
      const { proof, key } = await provenCell('revenue', 'proof')
      const { cell, cellCount, path } = decode(cellProof, proof.cellProof)
      const record = decode(batchRecord, proof.batchRecord)
      const [slice] = cell.slices
      const changed = {
        ...cell,
        number: cell.number + (part === 'number' ? 1 : 0),
        slices: [
          {
            ...slice!,
            count: slice!.count + (part === 'count' ? 1 : 0),
            bound: slice!.bound + (part === 'bound' ? 1 : 0),
            keyEpoch: slice!.keyEpoch + (part === 'epoch' ? 1 : 0),
            sum: part === 'sum' ? flipped(slice!.sum) : slice!.sum,
            chain: part === 'chain' ? flipped(slice!.chain) : slice!.chain,
          },
        ],
      }
      const { stateRoot: [algorithm, root] = [0, new Uint8Array()], ...rootless } = record
      const parts = {
        cellProof: encode(cellProof, {
          cell: changed,
          cellCount: cellCount * (part === 'cellCount' ? 4 : 1),
          path: part === 'path' ? path.slice(1) : path,
        }),
        batchRecord: encode(
          batchRecord,
          part === 'no root'
            ? rootless
            : { ...rootless, stateRoot: [algorithm, part === 'stateRoot' ? flipped(root) : root] },
        ),
      }
      expect(() => verifyCellProof(parts, { namespace: 'revenue', key })).toThrow(
        expect.objectContaining({ code: 'ERR_VERIFY_CELL' }),
      )
    },
  )

  test('a state that is older than what this client wrote or read is not opened', async () => {
    await log.counter('revenue').add(1n, { cell: 'stale' })
    const { proof } = await provenCell('revenue', 'stale')
    await log.counter('revenue').add(1n, { cell: 'stale' })
    testLog.intercept = (call, next) => (call.method === 'cell' ? Promise.resolve(proof) : next())
    await expect(log.counter('revenue').read({ cell: 'stale' })).rejects.toMatchObject({ code: 'ERR_REPLICA_BEHIND' })
    testLog.intercept = (call, next) => (call.method === 'cell' ? Promise.resolve(undefined) : next())
    await expect(log.counter('revenue').read({ cell: 'stale' })).rejects.toMatchObject({ code: 'ERR_REPLICA_BEHIND' })
  })

  test('a batch record that is not on the log is not believed', async () => {
    await log.counter('revenue').add(1n, { cell: 'unlogged' })
    testLog.intercept = async ({ method }, next) => {
      const answer = await next()
      if (method !== 'cell') return answer
      const proven = answer as ProvenCell
      const record = decode(batchRecord, proven.batchRecord)
      return { ...proven, batchRecord: encode(batchRecord, { ...record, logTime: record.logTime + 1 }) }
    }
    await expect(log.counter('revenue').read({ cell: 'unlogged' })).rejects.toMatchObject({
      code: 'ERR_VERIFY_INCLUSION',
    })
  })
})
