/**
 * Compiled circuits and their keys on disk, trusted only if their hashes are those of the manifest. Node only.
 * A server needs nothing but the verification keys; the proving keys are read by the prover.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { parseCircuitManifest, type CircuitManifest, type ManifestCircuit, type ManifestFile } from './manifest.ts'

/** Reads `manifest.json` in `directory`. @throws {@link CipherlogError} `ERR_PROOF_ARTIFACT`, `ERR_PROOF_MANIFEST`. */
export async function readCircuitManifest(directory: string): Promise<CircuitManifest> {
  const text = new TextDecoder().decode(await read(directory, 'manifest.json'))
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new CipherlogError('ERR_PROOF_ARTIFACT', `${directory}/manifest.json is not JSON; restore it.`, { cause })
  }
  return parseCircuitManifest(json)
}

/** The manifest's entry of a circuit. @throws {@link CipherlogError} `ERR_PROOF_ARTIFACT` if it has none. */
export function manifestCircuit(manifest: CircuitManifest, id: string): ManifestCircuit {
  const circuit = manifest.circuits.find((entry) => entry.id === id)
  if (circuit === undefined) {
    throw new CipherlogError('ERR_PROOF_ARTIFACT', `The manifest has no circuit ${id}; use one that it lists.`)
  }
  return circuit
}

/**
 * The bytes of a file that a manifest lists.
 * @throws {@link CipherlogError} `ERR_PROOF_ARTIFACT` if it can't be read or its SHA-256 is another.
 */
export async function readArtifact(directory: string, file: ManifestFile): Promise<Uint8Array> {
  const bytes = await read(directory, file.path)
  if (toHex(sha256(bytes)) !== file.sha256) {
    throw new CipherlogError('ERR_PROOF_ARTIFACT', `${file.path} is not the file that the manifest names; restore it.`)
  }
  return bytes
}

async function read(directory: string, path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(join(directory, path)))
  } catch (cause) {
    throw new CipherlogError('ERR_PROOF_ARTIFACT', `${join(directory, path)} can't be read; install the artifacts.`, {
      cause,
    })
  }
}
