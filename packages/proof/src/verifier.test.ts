import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bigintToBytes, concatBytes } from '@cipherlog/core'
import { cachedVerifier } from './cached-verifier.ts'
import { createTrapdoorKey } from './groth16/trapdoor.ts'
import { createInlineVerifier, type ProofCheck, type ProofVerifier } from './verifier.ts'
import { createWorkerVerifier } from './worker/index.ts'

const keys = [1, 2].map((seed) => createTrapdoorKey(Uint8Array.of(seed)))
function check(n: number, keyNumber = 0): ProofCheck {
  const { verificationKey, prove } = keys[keyNumber]!
  const statement = bigintToBytes(BigInt(n) + 1_000n, 32)
  return { verificationKey, statement, proof: prove(statement, Uint8Array.of(n)) }
}
const good = Array.from({ length: 12 }, (_, i) => check(i, i % 2))
const bad: ProofCheck = { ...good[0]!, proof: good[2]!.proof }
const truncated: ProofCheck = { ...good[1]!, proof: good[1]!.proof.subarray(0, 127) }

const kinds: readonly (readonly [string, () => Promise<ProofVerifier>])[] = [
  ['worker threads with mcl', () => createWorkerVerifier({ threads: 2 })],
  ['inline with noble', () => Promise.resolve(createInlineVerifier())],
]

describe.each(kinds)('a verifier: %s', (_, create) => {
  let verifier: ProofVerifier
  beforeAll(async () => {
    verifier = await create()
  })
  afterAll(() => verifier.close())

  it('answers each check in the order of the call, whatever its key', async () => {
    expect(await verifier.verify([])).toEqual([])
    expect(await verifier.verify(good)).toEqual(good.map(() => true))
    const mixed = [good[0]!, bad, good[1]!, truncated, good[3]!, bad]
    expect(await verifier.verify(mixed)).toEqual([true, false, true, false, true, false])
  })

  it('with stopAtFirstFailure, ends with the first failure of the call', async () => {
    const options = { stopAtFirstFailure: true }
    expect(await verifier.verify([good[1]!, good[0]!, bad, truncated, good[2]!], options)).toEqual([true, true, false])
    expect(await verifier.verify([truncated, bad], options)).toEqual([false])
    expect(await verifier.verify(good.slice(0, 3), options)).toEqual([true, true, true])
  })

  it('reads views into larger buffers, Node buffers too', async () => {
    const { verificationKey, statement, proof } = good[0]!
    const pool = Buffer.from(concatBytes(Uint8Array.of(9), proof, statement, verificationKey, Uint8Array.of(9)))
    const views = {
      proof: pool.subarray(1, 129),
      statement: pool.subarray(129, 161),
      verificationKey: pool.subarray(161, 449),
    }
    expect(await verifier.verify([views])).toEqual([true])
  })

  it('a malformed key or statement, which the caller made, is an error and no answer', async () => {
    const shortKey = { ...good[0]!, verificationKey: good[0]!.verificationKey.slice(1) }
    await expect(verifier.verify([good[0]!, shortKey])).rejects.toMatchObject({ code: 'ERR_PROOF_LENGTH' })
    const large = { ...good[0]!, statement: new Uint8Array(32).fill(0xff) }
    await expect(verifier.verify([large])).rejects.toMatchObject({ name: 'DecodeError', code: 'ERR_PROOF_STATEMENT' })
    expect(await verifier.verify([good[0]!])).toEqual([true])
  })

  it('calls at the same time do not mix their answers', async () => {
    const calls = Array.from({ length: 6 }, (_, i) => [good[i]!, i % 2 === 0 ? bad : good[i]!])
    const answers = await Promise.all(calls.map((checks) => verifier.verify(checks)))
    expect(answers).toEqual(calls.map((_, i) => [true, i % 2 !== 0]))
  })

  it('is closed for good', async () => {
    const other = await create()
    await other.close()
    await other.close()
    await expect(other.verify(good)).rejects.toMatchObject({ code: 'ERR_PROOF_CLOSED' })
  })
})

describe('createWorkerVerifier()', () => {
  it('rejects what is running when it is closed', async () => {
    const verifier = await createWorkerVerifier({ threads: 1 })
    const running = verifier.verify(good)
    const rejection = expect(running).rejects.toMatchObject({ code: 'ERR_PROOF_CLOSED' })
    await verifier.close()
    await rejection
  })

  it('takes at most 16,384 checks at a time', async () => {
    const verifier = await createWorkerVerifier({ threads: 1 })
    const flood = new Array<ProofCheck>(16_385).fill(truncated)
    await expect(verifier.verify(flood)).rejects.toMatchObject({ code: 'ERR_PROOF_BUSY' })
    expect(await verifier.verify([good[0]!])).toEqual([true])
    await verifier.close()
  })

  it.each([0, 65, 1.5])('refuses %d threads', async (threads) => {
    await expect(createWorkerVerifier({ threads })).rejects.toThrow(RangeError)
  })
})

describe('cachedVerifier()', () => {
  /** The real verifier, with a count of what reached it. */
  function counted() {
    const inner = createInlineVerifier()
    const seen: ProofCheck[][] = []
    const verifier: ProofVerifier = {
      verify(checks, options) {
        seen.push([...checks])
        return inner.verify(checks, options)
      },
      close: () => inner.close(),
    }
    return { verifier, seen }
  }

  it('asks once for a check, good or bad', async () => {
    const { verifier, seen } = counted()
    const cached = cachedVerifier(verifier, 10)
    for (let i = 0; i < 3; i++) expect(await cached.verify([good[0]!, bad])).toEqual([true, false])
    expect(seen).toEqual([[good[0]!, bad]])
  })

  it('a good proof of a statement does not make garbage for the same statement good', async () => {
    const cached = cachedVerifier(createInlineVerifier(), 10)
    expect(await cached.verify([good[0]!])).toEqual([true])
    const garbage = good[0]!.proof.map((byte) => byte ^ 0xa5)
    expect(await cached.verify([{ ...good[0]!, proof: garbage }])).toEqual([false])
    expect(await cached.verify([{ ...good[0]!, verificationKey: keys[1]!.verificationKey }])).toEqual([false])
    expect(await cached.verify([{ ...good[0]!, statement: good[2]!.statement }])).toEqual([false])
    expect(await cached.verify([good[0]!])).toEqual([true])
  })

  it('forgets the least recently used answer beyond its bound', async () => {
    const { verifier, seen } = counted()
    const cached = cachedVerifier(verifier, 2)
    for (const i of [0, 1, 0, 2]) await cached.verify([good[i]!])
    expect(seen.length).toBe(3)
    await cached.verify([good[0]!])
    expect(seen.length).toBe(3)
    await cached.verify([good[1]!])
    expect(seen.length).toBe(4)
  })

  it('with stopAtFirstFailure, remembers nothing that was not answered', async () => {
    const { verifier, seen } = counted()
    const cached = cachedVerifier(verifier, 10)
    const options = { stopAtFirstFailure: true }
    expect(await cached.verify([good[0]!, bad, good[2]!], options)).toEqual([true, false])
    expect(await cached.verify([good[4]!, bad, good[2]!], options)).toEqual([true, false])
    expect(seen[1]).toEqual([good[4]!])
    expect(await cached.verify([good[2]!])).toEqual([true])
    expect(seen.length).toBe(3)
  })

  it('remembers no failure of the machine', async () => {
    const { verifier } = counted()
    const cached = cachedVerifier(verifier, 2)
    const large = { ...good[0]!, statement: new Uint8Array(32).fill(0xff) }
    for (let i = 0; i < 2; i++) {
      await expect(cached.verify([good[0]!, large])).rejects.toMatchObject({ code: 'ERR_PROOF_STATEMENT' })
    }
    await cached.close()
    await expect(cached.verify([good[0]!])).rejects.toMatchObject({ code: 'ERR_PROOF_CLOSED' })
  })
})
