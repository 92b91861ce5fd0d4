// SPDX-License-Identifier: GPL-3.0-or-later
/** Where the compiled circuits and proving keys are, and how they are loaded: never before their hashes are checked. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { manifestCircuit, readArtifact, readCircuitManifest } from '@cipherlog/proof/artifacts'

/** `circuits/` of this source tree: `manifest.json` and what it lists. */
export const defaultArtifactsDirectory: string = fileURLToPath(new URL('../../../circuits/', import.meta.url))

export interface ArtifactPaths {
  readonly r1cs: string
  readonly wasm: string
  readonly provingKey: string
  readonly verificationKey: string
  readonly verificationKeyJson: string
}

/** Absolute paths of a circuit's files. @throws {@link CipherlogError} `ERR_PROOF_ARTIFACT`, `ERR_PROOF_MANIFEST`. */
export async function artifactPaths(circuit: string, directory = defaultArtifactsDirectory): Promise<ArtifactPaths> {
  const { files } = manifestCircuit(await readCircuitManifest(directory), circuit)
  return {
    r1cs: join(directory, files.r1cs.path),
    wasm: join(directory, files.wasm.path),
    provingKey: join(directory, files.provingKey.path),
    verificationKey: join(directory, files.verificationKey.path),
    verificationKeyJson: join(directory, files.verificationKeyJson.path),
  }
}

/** What a thread needs to prove. */
export interface CircuitArtifacts {
  readonly wasm: Uint8Array
  readonly provingKey: Uint8Array
  /** 288 bytes. */
  readonly verificationKey: Uint8Array
}

/** @throws {@link CipherlogError} `ERR_PROOF_ARTIFACT` if a file is missing or is not the one the manifest names. */
export async function loadArtifacts(circuit: string, directory: string): Promise<CircuitArtifacts> {
  const { files } = manifestCircuit(await readCircuitManifest(directory), circuit)
  const [wasm, provingKey, verificationKey] = await Promise.all([
    readArtifact(directory, files.wasm),
    readArtifact(directory, files.provingKey),
    readArtifact(directory, files.verificationKey),
  ])
  return { wasm, provingKey, verificationKey }
}
