// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * The DEVELOPMENT ceremony: compiles the circuits, makes powers of tau and proving keys with one contribution from
 * this machine's randomness and one fixed "beacon", and writes circuits/artifacts and circuits/manifest.json.
 *
 * Whoever runs it could keep the randomness and forge proofs, so the manifest says `development`, and a genesis
 * of mode `production` refuses these keys. Run it only after a change of a circuit: every run makes new keys.
 *
 *     node scripts/ceremony.ts [--new-powers-of-tau]     seconds; two minutes with new powers of tau
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { verificationKeyFromSnarkjs } from '@cipherlog/proof'
import { curves, powersOfTau, zKey, type MemoryFile } from 'snarkjs'
import {
  circuitIds,
  circuitSource,
  compileCircuit,
  compilerOptions,
  compilerVersions,
} from '../circuits/ceremony/compile.ts'

const root = join(import.meta.dirname, '..')
const circuitsDirectory = join(root, 'circuits')
/** 2^12 constraints: the largest circuit has 3,529. */
const power = 12
const powersOfTauPath = `artifacts/powers-of-tau-${power}.ptau`
const contributor = 'cipherlog DEVELOPMENT contribution'
/** A real beacon is a public value that nobody could choose, such as a future block's hash. This one is a sentence. */
const beaconHex = createHash('sha256').update('cipherlog DEVELOPMENT ceremony: not a random beacon').digest('hex')
const beaconIterationsLog2 = 10

await mkdir(join(circuitsDirectory, 'artifacts'), { recursive: true })
// One curve for all calls: snarkjs keeps its threads until the curve is terminated.
const curve = await curves.getCurveFromName('bn128')
const powersOfTauFile = join(circuitsDirectory, powersOfTauPath)
const tau =
  process.argv.includes('--new-powers-of-tau') || !existsSync(powersOfTauFile)
    ? await makePowersOfTau()
    : new Uint8Array(await readFile(powersOfTauFile))
const manifest = {
  version: 1,
  compiler: { ...(await compilerVersions()), options: compilerOptions.join(' ') },
  powersOfTau: await manifestFile(powersOfTauPath),
  circuits: await inTurn(circuitIds, makeCircuit),
}
await writeFile(join(circuitsDirectory, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n')
await curve.terminate()
console.log('Wrote circuits/artifacts and circuits/manifest.json.')

async function makePowersOfTau(): Promise<Uint8Array> {
  const entropy = randomBytes(64).toString('hex')
  const fresh = await inMemory((to) => powersOfTau.newAccumulator(curve, power, to))
  const contributed = await inMemory((to) => powersOfTau.contribute(fresh, to, contributor, entropy))
  const closed = await inMemory((to) =>
    powersOfTau.beacon(contributed, to, contributor, beaconHex, beaconIterationsLog2),
  )
  const prepared = await inMemory((to) => powersOfTau.preparePhase2(closed, to))
  if (!(await powersOfTau.verify(prepared))) throw new Error('the powers of tau do not verify')
  await writeFile(powersOfTauFile, prepared)
  return prepared
}

async function makeCircuit(id: string): Promise<object> {
  const compiled = await compileCircuit(root, id, 'tmp/circuits')
  const artifacts = `artifacts/${id}`
  const path = (name: string) => join(circuitsDirectory, artifacts, name)
  await mkdir(join(circuitsDirectory, artifacts), { recursive: true })
  await writeFile(path('circuit.r1cs'), compiled.r1cs)
  await writeFile(path('circuit.wasm'), compiled.wasm)

  const entropy = randomBytes(64).toString('hex')
  const fresh = await inMemory((to) => zKey.newZKey(compiled.r1cs, tau, to))
  const contributed = await inMemory((to) => zKey.contribute(fresh, to, contributor, entropy))
  const provingKey = await inMemory((to) => zKey.beacon(contributed, to, contributor, beaconHex, beaconIterationsLog2))
  if (!(await zKey.verifyFromR1cs(compiled.r1cs, tau, provingKey))) {
    throw new Error(`the proving key of ${id} does not verify`)
  }
  const verificationKey = await zKey.exportVerificationKey(provingKey)
  await writeFile(path('proving-key.zkey'), provingKey)
  await writeFile(path('verification-key.json'), JSON.stringify(verificationKey, null, 2) + '\n')
  await writeFile(path('verification-key.bin'), verificationKeyFromSnarkjs(verificationKey))
  return {
    id,
    source: circuitSource(id),
    constraints: compiled.constraints,
    publicSignals: compiled.publicSignals,
    ceremony: 'development',
    files: {
      r1cs: await manifestFile(`${artifacts}/circuit.r1cs`),
      wasm: await manifestFile(`${artifacts}/circuit.wasm`),
      provingKey: await manifestFile(`${artifacts}/proving-key.zkey`),
      verificationKey: await manifestFile(`${artifacts}/verification-key.bin`),
      verificationKeyJson: await manifestFile(`${artifacts}/verification-key.json`),
    },
  }
}

async function manifestFile(path: string): Promise<{ path: string; sha256: string }> {
  const bytes = await readFile(join(circuitsDirectory, path))
  return { path, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** What a step of snarkjs writes; kept off the disk, where it would leave file handles open. */
async function inMemory(write: (to: MemoryFile) => Promise<unknown>): Promise<Uint8Array> {
  const to: MemoryFile = { type: 'mem' }
  await write(to)
  return to.data!
}

async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = []
  for (const item of items) out.push(await work(item))
  return out
}
