// SPDX-License-Identifier: GPL-3.0-or-later
/** Makes proofs with snarkjs in worker threads. Optional: servers, readers and auditors run without it. */
export { createProver, type Prover, type ProverOptions } from './prover.ts'
export { type ProveOptions, type ProveStage, type SealedAmountWitness } from './sealed-amount.ts'
export { artifactPaths, defaultArtifactsDirectory, type ArtifactPaths } from './artifacts.ts'
