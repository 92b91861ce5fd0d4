/**
 * Remembers answers under all their inputs: verifier version, key digest, exact statement bytes, exact proof bytes.
 *
 * A cache by statement would let a leader that once saw a good proof accept garbage for the same statement, and
 * its followers would disagree with it (DESIGN, "Caches under all inputs").
 */
import { concatBytes, toHex, writeU32 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { verificationKeyDigest } from './groth16/engine.ts'
import { verifierVersion, type ProofCheck, type ProofVerifier } from './verifier.ts'

/**
 * `verifier` with a memory of the last `entriesMax` answers (about 150 bytes each), least recently used first out.
 * Closing it closes `verifier`.
 */
export function cachedVerifier(verifier: ProofVerifier, entriesMax: number): ProofVerifier {
  if (!Number.isSafeInteger(entriesMax) || entriesMax < 1)
    throw new RangeError(`not a number of entries: ${entriesMax}`)
  const answers = new Map<string, boolean>()

  const remember = (key: string, answer: boolean) => {
    // A Map keeps insertion order: deleting first moves a known entry to the end.
    answers.delete(key)
    if (answers.size >= entriesMax) answers.delete(answers.keys().next().value!)
    answers.set(key, answer)
  }

  return {
    async verify(checks, options = {}) {
      const keys = checks.map(cacheKey)
      const known = keys.map((key) => answers.get(key))
      const firstKnownFailure = known.indexOf(false)
      const end = options.stopAtFirstFailure && firstKnownFailure >= 0 ? firstKnownFailure + 1 : checks.length
      const unknown = known.flatMap((answer, i) => (answer === undefined && i < end ? [i] : []))
      const fresh =
        unknown.length === 0
          ? []
          : await verifier.verify(
              unknown.map((i) => checks[i]!),
              options,
            )
      fresh.forEach((answer, j) => (known[unknown[j]!] = answer))

      const out: boolean[] = []
      for (let i = 0; i < end; i++) {
        const answer = known[i]!
        remember(keys[i]!, answer)
        out.push(answer)
        if (!answer && options.stopAtFirstFailure) break
      }
      return out
    },
    close: () => verifier.close(),
  }
}

/** SHA-256 of version ‖ key digest ‖ length of the statement ‖ statement ‖ proof: injective in all of them. */
function cacheKey({ verificationKey, statement, proof }: ProofCheck): string {
  const numbers = new Uint8Array(8)
  writeU32(numbers, 0, verifierVersion)
  writeU32(numbers, 4, statement.length)
  return toHex(sha256(concatBytes(numbers, verificationKeyDigest(verificationKey), statement, proof)))
}
