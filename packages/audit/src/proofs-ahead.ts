/**
 * Verifies the proofs of many bundles at once, before the replay asks for each: a batch costs a fraction of its
 * proofs one by one, and several threads have work.
 *
 * Invariant: this only fills the verifier's memory, which is keyed by all inputs of a check. A wrong guess (a key
 * that has changed until then, a command that is rejected before) costs time and changes no verdict.
 */
import { decode, DecodeError, VerificationError } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import { commandBundle, contextBytes, leafKinds, signedCommandBundle, splitBodies, suites } from '@cipherlog/format'
import { findCircuit, type ProofCheck, type ProofVerifier } from '@cipherlog/proof'
import { type Registry } from '@cipherlog/registry'
import { kindOf } from './leaf-check.ts'
import { type TrailLeaf } from './trail-leaves.ts'

/** Answers that the verifier keeps, some 150 bytes each: those of one call and more. */
export const proofsRemembered = 8192
/** Checks handed over at once. */
const checksMax = 2048

/**
 * Looks from one leaf ahead to those behind it.
 * @returns how many of the leaves were looked at: the next call starts behind them.
 */
export async function verifyAhead(
  registry: Registry,
  leaves: readonly TrailLeaf[],
  verifier: ProofVerifier,
): Promise<number> {
  const checks: ProofCheck[] = []
  let looked = 0
  while (looked < leaves.length && checks.length < checksMax) checks.push(...checksOf(registry, leaves[looked++]!))
  if (checks.length > 1) await verifier.verify(checks.slice(0, checksMax))
  return looked
}

/** The checks that a leaf will probably need; none if it is not what it should be, which its own turn will show. */
export function checksOf(registry: Registry, { record, signed, body }: TrailLeaf): ProofCheck[] {
  if (kindOf(record) !== leafKinds.commandBundle || body === undefined) return []
  try {
    const { cluster, client, heads } = decode(commandBundle, decode(signedCommandBundle, signed)[0])
    if (heads.every(({ proof }) => proof === undefined)) return []
    const bodies = splitBodies(heads, body, ['ciphertext', 'proof'])
    return heads.flatMap((head, i) => {
      const { ciphertext, proof } = bodies[i]!
      const circuit = head.circuit === undefined ? undefined : findCircuit(head.circuit)
      const verificationKey = head.circuit === undefined ? undefined : registry.circuit(head.circuit)?.verificationKey
      const keyset = registry.keyset(head.keyset)
      // Keys of other suites have other lengths; a head may name any keyset.
      if (keyset?.suite !== suites.elgamalBjj) return []
      const publicKey = keyset.versions.get(head.keyEpoch)?.version.publicKey
      if (!circuit || !verificationKey || !publicKey || !ciphertext || !proof) return []
      const context = labelledHash(labels.context, contextBytes(cluster, client, head))
      return [{ verificationKey, statement: circuit.statement({ ciphertext, publicKey, context }), proof }]
    })
  } catch (error) {
    if (error instanceof DecodeError || error instanceof VerificationError) return []
    throw error
  }
}
