/**
 * `circuits/manifest.json`: which compiled circuits and keys belong together, every file by its SHA-256.
 * A pure reader; artifacts.ts reads the files themselves.
 */
import { DecodeError } from '@cipherlog/core'

/** A file below the manifest's directory. */
export interface ManifestFile {
  /** Relative, with forward slashes. */
  readonly path: string
  /** 64 lowercase hex digits. */
  readonly sha256: string
}

export interface ManifestCircuit {
  readonly id: string
  readonly constraints: number
  readonly publicSignals: number
  /** 'development', or the SHA-256 of a ceremony's transcript. A production genesis refuses the former. */
  readonly ceremony: string
  readonly source: string
  readonly files: {
    readonly r1cs: ManifestFile
    readonly wasm: ManifestFile
    readonly provingKey: ManifestFile
    readonly verificationKey: ManifestFile
    readonly verificationKeyJson: ManifestFile
  }
}

export interface CircuitManifest {
  readonly version: 1
  readonly compiler: {
    readonly circom: string
    readonly circom2: string
    readonly circomlib: string
    /** Command-line options, separated by spaces. */
    readonly options: string
  }
  readonly powersOfTau: ManifestFile
  readonly circuits: readonly ManifestCircuit[]
}

/** @throws {@link DecodeError} `ERR_PROOF_MANIFEST`, naming the field, unless `json` is a manifest. */
export function parseCircuitManifest(json: unknown): CircuitManifest {
  const root = object(json, 'manifest')
  if (root['version'] !== 1) throw bad('version', 'is not 1')
  const compiler = object(root['compiler'], 'compiler')
  const circuits = array(root['circuits'], 'circuits').map(circuit)
  if (new Set(circuits.map(({ id }) => id)).size !== circuits.length) throw bad('circuits', 'names an id twice')
  return {
    version: 1,
    compiler: {
      circom: text(compiler['circom'], 'compiler.circom'),
      circom2: text(compiler['circom2'], 'compiler.circom2'),
      circomlib: text(compiler['circomlib'], 'compiler.circomlib'),
      options: text(compiler['options'], 'compiler.options'),
    },
    powersOfTau: file(root['powersOfTau'], 'powersOfTau'),
    circuits,
  }
}

function circuit(json: unknown): ManifestCircuit {
  const entry = object(json, 'circuits')
  const id = text(entry['id'], 'circuits.id')
  const files = object(entry['files'], `${id}.files`)
  const ceremony = text(entry['ceremony'], `${id}.ceremony`)
  if (ceremony !== 'development' && !/^[0-9a-f]{64}$/.test(ceremony)) throw bad(`${id}.ceremony`, 'is not known')
  return {
    id,
    constraints: count(entry['constraints'], `${id}.constraints`),
    publicSignals: count(entry['publicSignals'], `${id}.publicSignals`),
    ceremony,
    source: text(entry['source'], `${id}.source`),
    files: {
      r1cs: file(files['r1cs'], `${id}.r1cs`),
      wasm: file(files['wasm'], `${id}.wasm`),
      provingKey: file(files['provingKey'], `${id}.provingKey`),
      verificationKey: file(files['verificationKey'], `${id}.verificationKey`),
      verificationKeyJson: file(files['verificationKeyJson'], `${id}.verificationKeyJson`),
    },
  }
}

function bad(field: string, problem: string): DecodeError {
  return new DecodeError(
    'ERR_PROOF_MANIFEST',
    `circuits/manifest.json: ${field} ${problem}; restore it from the release.`,
  )
}

function object(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(field, 'is not an object')
  return value as Record<string, unknown>
}

function array(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw bad(field, 'is not a list')
  return value as readonly unknown[]
}

function text(value: unknown, field: string): string {
  if (typeof value !== 'string' || value === '') throw bad(field, 'is not a text')
  return value
}

function count(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw bad(field, 'is not a number')
  return value as number
}

function file(value: unknown, field: string): ManifestFile {
  const entry = object(value, field)
  const path = text(entry['path'], `${field}.path`)
  const sha256 = text(entry['sha256'], `${field}.sha256`)
  // Stays below the manifest's directory on every platform.
  if (!/^[a-z0-9-]+(\.[a-z0-9]+)?(\/[a-z0-9-]+(\.[a-z0-9]+)?)*$/.test(path)) throw bad(`${field}.path`, 'is not a path')
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw bad(`${field}.sha256`, 'is not a SHA-256')
  return { path, sha256 }
}
