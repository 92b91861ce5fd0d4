// SPDX-License-Identifier: GPL-3.0-or-later
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { systemRandom } from '@cipherlog/core'
import { encryptElgamal, generateElgamalKey } from '@cipherlog/crypto/seal'
import { circuits, createInlineVerifier, proofBytes } from '@cipherlog/proof'
import {
  artifactPaths,
  createProver,
  defaultArtifactsDirectory,
  type ProveStage,
  type SealedAmountWitness,
} from './index.ts'

const random = systemRandom
const { publicKey } = generateElgamalKey(random)
const prover = createProver()
afterAll(() => prover.close())

function sealed(amount: bigint, bits: 16 | 32 = 32): SealedAmountWitness {
  const context = random.bytes(32)
  return { bits, amount, publicKey, context, ...encryptElgamal({ publicKey, amount, random }) }
}

async function holds(witness: SealedAmountWitness, proof: Uint8Array): Promise<boolean> {
  const circuit = circuits[`sealed-amount-${witness.bits}`]
  const verificationKey = await prover.verificationKey(circuit.id)
  const [answer] = await createInlineVerifier().verify([
    { verificationKey, statement: circuit.statement(witness), proof },
  ])
  return answer!
}

describe('proveSealedAmount()', () => {
  it.each([
    [32, 2n ** 32n - 1n],
    [16, 0n],
  ] as const)('of %d bits: 128 bytes that the verifier accepts for this command and no other', async (bits, amount) => {
    const witness = sealed(amount, bits)
    const stages: ProveStage[] = []
    const proof = await prover.proveSealedAmount(witness, { onProgress: (stage) => stages.push(stage) })
    expect(proof.length).toBe(proofBytes)
    expect(proof.constructor).toBe(Uint8Array)
    expect(stages).toEqual(['queued', 'witness', 'proving', 'checked'])
    expect(await holds(witness, proof)).toBe(true)
    expect(await holds({ ...witness, context: random.bytes(32) }, proof)).toBe(false)
    expect(await holds({ ...witness, ciphertext: sealed(amount).ciphertext }, proof)).toBe(false)
  })

  it('two proofs of the same statement differ: they are zero-knowledge', async () => {
    const witness = sealed(5n)
    const [a, b] = await Promise.all([prover.proveSealedAmount(witness), prover.proveSealedAmount(witness)])
    expect(a).not.toEqual(b)
  })

  it('a ciphertext of another amount, randomness or key is refused before it is proven', async () => {
    const witness = sealed(5n)
    const stages: ProveStage[] = []
    const onProgress = (stage: ProveStage) => stages.push(stage)
    for (const other of [
      { ...witness, amount: 6n },
      { ...witness, randomness: witness.randomness ^ 1n || 1n },
      { ...witness, publicKey: generateElgamalKey(random).publicKey },
    ]) {
      await expect(prover.proveSealedAmount(other, { onProgress })).rejects.toMatchObject({
        code: 'ERR_PROVE_MISMATCH',
      })
    }
    expect(stages).not.toContain('proving')
    expect((await prover.proveSealedAmount(witness)).length).toBe(proofBytes)
  })

  it('refuses what is out of range before anything is queued', async () => {
    const refused = (witness: SealedAmountWitness) =>
      expect(prover.proveSealedAmount(witness)).rejects.toThrow(RangeError)
    await refused({ ...sealed(5n), amount: 2n ** 32n })
    await refused({ ...sealed(5n), amount: -1n })
    await refused({ ...sealed(5n, 16), amount: 2n ** 16n })
    await refused({ ...sealed(5n), randomness: 0n })
    await refused({ ...sealed(5n), randomness: 2n ** 250n })
    await refused({ ...sealed(5n), context: new Uint8Array(31) })
    await expect(prover.proveSealedAmount({ ...sealed(5n), ciphertext: new Uint8Array(128) })).rejects.toMatchObject({
      name: 'DecodeError',
    })
  })

  it('refuses to prove under another key than the cluster accepts', async () => {
    const verificationKey = await prover.verificationKey('sealed-amount-16')
    await expect(prover.proveSealedAmount({ ...sealed(5n), verificationKey })).rejects.toMatchObject({
      code: 'ERR_PROVE_KEY',
    })
  })

  it('can be aborted before, in the queue and while it runs, and goes on with the next', async () => {
    const [running, queued] = [new AbortController(), new AbortController()]
    const results = Promise.allSettled([
      prover.proveSealedAmount(sealed(1n), {
        signal: running.signal,
        onProgress: (stage) => stage === 'proving' && running.abort(),
      }),
      prover.proveSealedAmount(sealed(2n), { signal: queued.signal, onProgress: () => queued.abort() }),
      prover.proveSealedAmount(sealed(3n), { signal: AbortSignal.abort() }),
      prover.proveSealedAmount(sealed(4n)),
    ])
    const aborted = { status: 'rejected', reason: { code: 'ERR_PROVE_ABORTED' } }
    expect(await results).toMatchObject([aborted, aborted, aborted, { status: 'fulfilled' }])
  })

  it('keeps at most 256 proofs waiting; closing rejects them', async () => {
    const other = createProver()
    const witness = sealed(5n)
    const results = Promise.allSettled(Array.from({ length: 258 }, () => other.proveSealedAmount(witness)))
    await new Promise<void>((resolve) => {
      void other.proveSealedAmount(witness).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'ERR_PROVE_BUSY' })
        resolve()
      })
    })
    await other.close()
    const codes = (await results).map((result) =>
      result.status === 'rejected' ? (result.reason as { code: string }).code : '',
    )
    expect(codes.filter((code) => code === 'ERR_PROVE_CLOSED').length).toBe(257)
    expect(codes.filter((code) => code === 'ERR_PROVE_BUSY').length).toBe(1)
    await expect(other.proveSealedAmount(witness)).rejects.toMatchObject({ code: 'ERR_PROVE_CLOSED' })
  })

  it('a process that forgets to close it ends all the same, and has printed nothing', async () => {
    const script = `
      import { systemRandom as random } from '@cipherlog/core'
      import { encryptElgamal, generateElgamalKey } from '@cipherlog/crypto/seal'
      import { createProver } from '@cipherlog/prover'
      const { publicKey } = generateElgamalKey(random)
      const witness = { bits: 16, amount: 5n, publicKey, context: random.bytes(32) }
      const prover = createProver()
      const proof = await prover.proveSealedAmount({ ...witness, ...encryptElgamal({ ...witness, random }) })
      console.log(proof.length)`
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      cwd: import.meta.dirname,
      timeout: 25_000,
    })
    expect(await run).toEqual({ stdout: '128\n', stderr: '' })
  })

  it.each([0, 17, 1.5])('refuses %d threads', (threads) => {
    expect(() => createProver({ threads })).toThrow(RangeError)
  })
})

describe('artifacts', () => {
  it('the paths are those of the manifest', async () => {
    const { verificationKey } = await artifactPaths('sealed-amount-32')
    expect(new Uint8Array(await readFile(verificationKey))).toEqual(await prover.verificationKey('sealed-amount-32'))
    await expect(artifactPaths('sealed-amount-64')).rejects.toMatchObject({ code: 'ERR_PROOF_ARTIFACT' })
  })

  it('a proving key with one byte changed is never used; repaired, it is', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cipherlog-prover-'))
    try {
      for (const path of ['manifest.json', 'artifacts/sealed-amount-16']) {
        await cp(join(defaultArtifactsDirectory, path), join(directory, path), { recursive: true })
      }
      const { provingKey } = await artifactPaths('sealed-amount-16', directory)
      const whole = await readFile(provingKey)
      await writeFile(provingKey, whole.with(100_000, whole[100_000]! ^ 1))
      const other = createProver({ artifactsDirectory: directory })
      const witness = sealed(5n, 16)
      await expect(other.proveSealedAmount(witness)).rejects.toMatchObject({ code: 'ERR_PROOF_ARTIFACT' })
      await writeFile(provingKey, whole)
      expect(await holds(witness, await other.proveSealedAmount(witness))).toBe(true)
      await other.close()
      const missing = createProver({ artifactsDirectory: join(directory, 'nowhere') })
      await expect(missing.proveSealedAmount(witness)).rejects.toMatchObject({ code: 'ERR_PROOF_ARTIFACT' })
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
