import { expect, it } from 'vitest'
import fc from 'fast-check'
import { DecodeError } from '@cipherlog/core'
import { parseCircuitManifest } from './manifest.ts'

const file = (path: string) => ({ path, sha256: 'ab'.repeat(32) })
const circuit = {
  id: 'sealed-amount-32',
  source: 'main/sealed-amount-32.circom',
  constraints: 3529,
  publicSignals: 1,
  ceremony: 'development',
  files: {
    r1cs: file('artifacts/a/circuit.r1cs'),
    wasm: file('artifacts/a/circuit.wasm'),
    provingKey: file('artifacts/a/proving-key.zkey'),
    verificationKey: file('artifacts/a/verification-key.bin'),
    verificationKeyJson: file('artifacts/a/verification-key.json'),
  },
}
const manifest = {
  version: 1,
  compiler: { circom: '2.2.3', circom2: '0.2.23', circomlib: '2.0.5', options: '--O2' },
  powersOfTau: file('artifacts/powers-of-tau-12.ptau'),
  circuits: [circuit],
}

it('a manifest is read as it stands', () => expect(parseCircuitManifest(manifest)).toEqual(manifest))

it.each([
  ['another version', { ...manifest, version: 2 }],
  ['an id twice', { ...manifest, circuits: [circuit, circuit] }],
  ['an unknown ceremony', { ...manifest, circuits: [{ ...circuit, ceremony: 'trust me' }] }],
  ['a path upwards', { ...manifest, powersOfTau: file('../secret') }],
  ['an absolute path', { ...manifest, powersOfTau: file('/etc/passwd') }],
  ['a path with dots inside', { ...manifest, powersOfTau: file('artifacts/../../x') }],
  ['a short hash', { ...manifest, powersOfTau: { path: 'a', sha256: 'ab' } }],
  ['no files', { ...manifest, circuits: [{ ...circuit, files: {} }] }],
])('refused: %s', (_, json) => {
  expect(() => parseCircuitManifest(json)).toThrow(expect.objectContaining({ code: 'ERR_PROOF_MANIFEST' }))
})

it('arbitrary JSON is refused with a DecodeError', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      expect(() => parseCircuitManifest(json)).toThrow(DecodeError)
    }),
  )
})
