/** What private sums cost: a proven amount (ElGamal and Groth16) and a vector (BFV), on the client and on a server. */
import { systemRandom } from '@cipherlog/core'
import { addElgamal } from '@cipherlog/crypto/evaluate/elgamal'
import { bfvSuites, inspectBfvCiphertext, loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { encryptElgamal, generateElgamalKey, loadBfvClient } from '@cipherlog/crypto/seal'
import { suites } from '@cipherlog/format'
import { batchProofsMax, circuits, type ProofCheck } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import { createWorkerVerifier } from '@cipherlog/proof/worker'
import { createProver } from '@cipherlog/prover'
import { type Bench, type BenchContext } from './bench.ts'
import { ownCpuSeconds } from './cpu.ts'
import { measured, type Measured, type Table } from './report.ts'

const circuit = circuits['sealed-amount-32']
const suite = suites.bfv4096

export const proofs: Bench = {
  name: 'proofs',
  about: 'making and checking proofs of amounts; encrypting, checking and adding vectors',
  run: async (context) => proofTables(await measureProofs(context)),
}

/** What one contribution costs, milliseconds, in each round. */
export interface ProofFigures {
  readonly amount: {
    readonly prove: readonly Cost[]
    readonly statement: readonly Cost[]
    readonly verify: readonly { readonly batch: number; readonly costs: readonly Cost[] }[]
    readonly add: readonly Cost[]
  }
  readonly vector: { readonly encrypt: readonly Cost[]; readonly gate: readonly Cost[]; readonly add: readonly Cost[] }
}

export interface Cost {
  readonly elapsed: number
  readonly cpu: number
}

export async function measureProofs(context: BenchContext): Promise<ProofFigures> {
  return { amount: await measureAmounts(context), vector: await measureVectors(context) }
}

async function measureAmounts({ rounds, quick, scope, say }: BenchContext): Promise<ProofFigures['amount']> {
  const batchSizes = quick ? [8] : [1, 8, 32, batchProofsMax]
  const { publicKey } = generateElgamalKey(systemRandom)
  const prover = createProver()
  scope.defer(() => prover.close())
  const verifier = await createWorkerVerifier({ threads: 1 })
  scope.defer(() => verifier.close())

  const prove = async (): Promise<void> => {
    const amount = 123_456n
    const { ciphertext, randomness } = encryptElgamal({ publicKey, amount, random: systemRandom })
    const context = systemRandom.bytes(32)
    await prover.proveSealedAmount({ bits: 32, amount, randomness, publicKey, ciphertext, context })
  }
  const amounts = Array.from({ length: Math.max(...batchSizes) }, (_, i) => {
    const { ciphertext } = encryptElgamal({ publicKey, amount: BigInt(i), random: systemRandom })
    return { ciphertext, publicKey, context: systemRandom.bytes(32) }
  })
  say('making proofs to check')
  const key = createTrapdoorKey(systemRandom.bytes(32))
  const checks = amounts.map((amount): ProofCheck => {
    const statement = circuit.statement(amount)
    const proof = key.prove(statement, systemRandom.bytes(32))
    return { verificationKey: key.verificationKey, statement, proof }
  })
  const verify = async (count: number): Promise<void> => {
    const answers = await verifier.verify(checks.slice(0, count))
    if (answers.some((good) => !good)) throw new Error('a good proof was refused')
  }
  const addAll = (): void => {
    let sum = amounts[0]!.ciphertext
    for (const { ciphertext } of amounts) sum = addElgamal(sum, ciphertext)
  }

  say('warming up')
  await prove()
  for (const count of batchSizes) await verify(count)
  addAll()
  const figures = {
    prove: [] as Cost[],
    statement: [] as Cost[],
    verify: batchSizes.map((batch) => ({ batch, costs: [] as Cost[] })),
    add: [] as Cost[],
  }
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}: proofs`)
    figures.prove.push(await costOf(1, prove))
    figures.statement.push(await costOf(amounts.length, () => amounts.forEach((amount) => circuit.statement(amount))))
    figures.add.push(await costOf(amounts.length, addAll))
    for (const { batch, costs } of figures.verify) {
      // Several small batches, so that the clock's grain does not matter.
      const times = Math.max(1, Math.floor(amounts.length / 4 / batch))
      const verifyAll = async (): Promise<void> => {
        for (let n = 0; n < times; n++) await verify(batch)
      }
      costs.push(await costOf(batch * times, verifyAll))
    }
  }
  await prover.close()
  await verifier.close()
  return figures
}

async function measureVectors({ rounds, quick, say }: BenchContext): Promise<ProofFigures['vector']> {
  const { n } = bfvSuites[suite]
  const client = await loadBfvClient(suite)
  const evaluator = await loadBfvEvaluator(suite)
  const { publicKey } = client.generateKey()
  const values = Array.from({ length: n }, (_, i) => (i % 2001) - 1000)
  const count = quick ? 2 : 50
  let ciphertexts: Uint8Array[] = []
  const encrypt = (): void => {
    ciphertexts = Array.from({ length: count }, () => client.encrypt({ publicKey, values }))
  }
  const gate = (): void => ciphertexts.forEach((ciphertext) => inspectBfvCiphertext(suite, ciphertext))
  const add = (): void => {
    let sum: Uint8Array | undefined = ciphertexts[0]
    for (const ciphertext of ciphertexts) sum = evaluator.add(sum, ciphertext)
  }
  const steps = { encrypt, gate, add }
  const figures = { encrypt: [] as Cost[], gate: [] as Cost[], add: [] as Cost[] }
  const names = ['encrypt', 'gate', 'add'] as const
  for (const name of names) steps[name]()
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}: vectors`)
    for (const name of names) figures[name].push(await costOf(count, steps[name]))
  }
  return figures
}

export function proofTables({ amount, vector }: ProofFigures): Table[] {
  const { n, ciphertextBytes, name } = bfvSuites[suite]
  const columns = ['', 'ms', 'ms of CPU']
  return [
    {
      title: `An amount added to a counter (\`${circuit.id}\`)`,
      columns,
      rows: [
        ['client: encrypt and prove, one thread', ...both(amount.prove)],
        ['server: build the statement (Poseidon)', ...both(amount.statement)],
        ...amount.verify.map(({ batch, costs }) => [
          batch === 1 ? 'server: check a proof alone' : `server: check a proof, in a batch of ${batch}`,
          ...both(costs),
        ]),
        ['server: add the ciphertext', ...both(amount.add)],
      ],
      notes: [
        'Per amount; a contribution is 128 bytes and its proof 128. Checking is timed with simulated proofs under a ' +
          'key whose trapdoor is known: the verifier does the same with them.',
      ],
    },
    {
      title: `A vector of ${n} slots added to a sum (\`${name}\`)`,
      columns,
      rows: [
        ['client: encode, encrypt, save', ...both(vector.encrypt)],
        ['server: gate, at admission', ...both(vector.gate)],
        ['server: gate, load, add, save', ...both(vector.add)],
      ],
      notes: [`Per contribution of ${ciphertextBytes.toLocaleString('en-US')} bytes.`],
    },
  ]
}

async function costOf(items: number, run: () => void | Promise<void>): Promise<Cost> {
  const [start, cpu] = [performance.now(), ownCpuSeconds()]
  await run()
  return { elapsed: (performance.now() - start) / items, cpu: ((ownCpuSeconds() - cpu) * 1_000) / items }
}

export function both(costs: readonly Cost[]): [Measured, Measured] {
  return [measured(costs.map(({ elapsed }) => elapsed)), measured(costs.map(({ cpu }) => cpu))]
}
