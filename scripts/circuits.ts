// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * `npm run circuits`: checks that circuits/artifacts is what circuits/ compiles to and what the ceremony made.
 *
 *   1. every file has the hash that circuits/manifest.json names;
 *   2. the pinned compiler reproduces each r1cs and witness program, byte for byte;
 *   3. each proving key belongs to its r1cs and the powers of tau (all contributions verified);
 *   4. each verification key, in both encodings, is the proving key's.
 *
 * A proving key itself is verified, never reproduced: if it could be reproduced, its trapdoor would be known.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { verificationKeyFromSnarkjs } from '@cipherlog/proof'
import { readArtifact, readCircuitManifest } from '@cipherlog/proof/artifacts'
import { curves, zKey } from 'snarkjs'
import { circuitIds, compileCircuit, compilerOptions, compilerVersions } from '../circuits/ceremony/compile.ts'

const root = join(import.meta.dirname, '..')
const circuitsDirectory = join(root, 'circuits')
const manifest = await readCircuitManifest(circuitsDirectory)
const curve = await curves.getCurveFromName('bn128')
let failures = 0

await check('compiler versions and options', async () =>
  isDeepStrictEqual(manifest.compiler, { ...(await compilerVersions()), options: compilerOptions.join(' ') }),
)
await check('the circuits listed', () =>
  isDeepStrictEqual(
    manifest.circuits.map(({ id }) => id),
    [...circuitIds],
  ),
)
const powersOfTau = await readArtifact(circuitsDirectory, manifest.powersOfTau)
for (const { id, files, constraints, publicSignals } of manifest.circuits) {
  const r1cs = await readArtifact(circuitsDirectory, files.r1cs)
  const provingKey = await readArtifact(circuitsDirectory, files.provingKey)
  const verificationKey = await readArtifact(circuitsDirectory, files.verificationKey)
  const json = JSON.parse(
    Buffer.from(await readArtifact(circuitsDirectory, files.verificationKeyJson)).toString(),
  ) as unknown
  const compiled = await compileCircuit(root, id, 'tmp/circuits')
  await check(
    `${id}: r1cs reproduced, ${constraints} constraints`,
    () =>
      sha256(compiled.r1cs) === files.r1cs.sha256 &&
      compiled.constraints === constraints &&
      compiled.publicSignals === publicSignals,
  )
  await check(`${id}: witness program reproduced`, async () => {
    await readArtifact(circuitsDirectory, files.wasm)
    return sha256(compiled.wasm) === files.wasm.sha256
  })
  await check(`${id}: proving key verified`, () => zKey.verifyFromR1cs(r1cs, powersOfTau, provingKey))
  await check(`${id}: verification key is the proving key's`, async () => {
    const exported = await zKey.exportVerificationKey(provingKey)
    return (
      isDeepStrictEqual(exported, json) && Buffer.from(verificationKeyFromSnarkjs(exported)).equals(verificationKey)
    )
  })
}
await curve.terminate()
process.exitCode = failures === 0 ? 0 : 1

async function check(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const ok = await holds()
  if (!ok) failures++
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`)
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
