// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * Compiles a circuit with the pinned compiler. circom2 runs in a WASI sandbox that sees the working directory
 * and its parents, so it is started at the repository root with relative paths, and the output folder must exist.
 */
import { execFile } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'

const require = createRequire(import.meta.url)

/** The options every circuit is compiled with; `--O2` halves the constraints of the compiler's default. */
export const compilerOptions = ['--r1cs', '--wasm', '--O2', '-l', 'node_modules'] as const

/** The circuits, each with its range in bits. */
export const circuitIds = ['sealed-amount-16', 'sealed-amount-32'] as const

/** The source of a circuit, below `circuits/`. */
export function circuitSource(id: string): string {
  return `main/${id}.circom`
}

export interface CompiledCircuit {
  readonly r1cs: Uint8Array
  readonly wasm: Uint8Array
  readonly constraints: number
  readonly publicSignals: number
}

/** Compiles `circuits/main/<id>.circom` into `workDirectory` (relative to the root). */
export async function compileCircuit(root: string, id: string, workDirectory: string): Promise<CompiledCircuit> {
  await mkdir(join(root, workDirectory), { recursive: true })
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [require.resolve('circom2/cli.js'), `circuits/${circuitSource(id)}`, ...compilerOptions, '-o', workDirectory],
    { cwd: root },
  )
  const r1cs = join(root, workDirectory, `${id}.r1cs`)
  const count = (what: string) => Number(new RegExp(`^${what}: (\\d+)$`, 'm').exec(stdout)![1])
  return {
    r1cs: new Uint8Array(await readFile(r1cs)),
    wasm: new Uint8Array(await readFile(join(root, workDirectory, `${id}_js`, `${id}.wasm`))),
    constraints: count('non-linear constraints') + count('linear constraints'),
    publicSignals: count('public inputs') + count('public outputs'),
  }
}

/** Versions of what decides the compiler's output. */
export async function compilerVersions(): Promise<{ circom: string; circom2: string; circomlib: string }> {
  const { stdout } = await promisify(execFile)(process.execPath, [require.resolve('circom2/cli.js'), '--version'])
  const versionOf = (name: string) => (require(`${name}/package.json`) as { version: string }).version
  return {
    circom: /^circom compiler (\S+)$/m.exec(stdout)![1]!,
    circom2: versionOf('circom2'),
    circomlib: versionOf('circomlib'),
  }
}
