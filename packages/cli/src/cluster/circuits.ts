/** The circuits that come with this software, as a genesis lists them. */
import { fileURLToPath } from 'node:url'
import { fromHex } from '@cipherlog/core'
import { type Circuit } from '@cipherlog/format'
import { readArtifact, readCircuitManifest } from '@cipherlog/proof/artifacts'

const defaultDirectory = fileURLToPath(new URL('../../../../circuits/', import.meta.url))

/**
 * Verification keys of all circuits in the manifest, each checked by its hash.
 * @throws CipherlogError `ERR_PROOF_ARTIFACT`, `ERR_PROOF_MANIFEST`
 */
export async function bundledCircuits(directory = defaultDirectory): Promise<Circuit[]> {
  const { circuits } = await readCircuitManifest(directory)
  return Promise.all(
    circuits.map(async ({ id, ceremony, files }) => ({
      id,
      r1cs: fromHex(files.r1cs.sha256),
      verificationKey: await readArtifact(directory, files.verificationKey),
      ...(ceremony === 'development' ? {} : { ceremony: fromHex(ceremony) }),
    })),
  )
}

/** Whoever made a development key can forge proofs. */
export const isDevelopment = ({ ceremony }: Circuit): boolean => ceremony === undefined
