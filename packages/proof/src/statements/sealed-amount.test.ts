import { expect, it } from 'vitest'
import { bigintToBytes, bytesToBigint, concatBytes, DecodeError } from '@cipherlog/core'
import { elgamalIdentity } from '@cipherlog/crypto/evaluate/elgamal'
import { bn254ScalarOrder, poseidon } from '@cipherlog/crypto/hash'
import { babyjubjub } from '@noble/curves/misc.js'
import { circuits, findCircuit } from '../circuits.ts'
import { sealedAmountStatement } from './sealed-amount.ts'

const encode = (scalar: bigint) => {
  const { x, y } = babyjubjub.Point.BASE.multiply(scalar).toAffine()
  return concatBytes(bigintToBytes(x, 32), bigintToBytes(y, 32))
}
const ciphertext = concatBytes(encode(77n), encode(1_234n))
const publicKey = encode(5n)
const context = Uint8Array.from({ length: 32 }, (_, i) => 255 - i)
const inputs = { ciphertext, publicKey, context }

it('is Poseidon of the seven values, the context cut to its first 31 bytes', () => {
  const coordinates = [ciphertext, publicKey].flatMap((bytes) =>
    Array.from({ length: bytes.length / 32 }, (_, i) => bytesToBigint(bytes.slice(32 * i, 32 * i + 32))),
  )
  const statement = sealedAmountStatement(inputs)
  expect(bytesToBigint(statement)).toBe(poseidon([...coordinates, bytesToBigint(context.slice(0, 31))]))
  expect(statement.length).toBe(32)
})

it('changes with ciphertext, key and context, but not with the last byte of the context', () => {
  const statement = sealedAmountStatement(inputs)
  const others = [
    { ...inputs, ciphertext: concatBytes(encode(78n), encode(1_234n)) },
    { ...inputs, ciphertext: concatBytes(encode(77n), encode(1_235n)) },
    { ...inputs, publicKey: encode(6n) },
    { ...inputs, context: context.with(0, 1) },
    { ...inputs, context: context.with(30, 1) },
  ]
  for (const other of others) expect(sealedAmountStatement(other)).not.toEqual(statement)
  expect(sealedAmountStatement({ ...inputs, context: context.with(31, 1) })).toEqual(statement)
})

it('refuses other encodings of the same points, points off the curve, and c1 = the identity', () => {
  const x = bytesToBigint(ciphertext.slice(0, 32))
  const shifted = new Uint8Array(ciphertext)
  shifted.set(bigintToBytes(x + bn254ScalarOrder, 32))
  const offCurve = ciphertext.with(31, ciphertext[31]! ^ 1)
  const open = concatBytes(elgamalIdentity.slice(0, 64), ciphertext.slice(64))
  for (const bad of [shifted, offCurve, open, ciphertext.slice(1)]) {
    expect(() => sealedAmountStatement({ ...inputs, ciphertext: bad })).toThrow(DecodeError)
  }
  expect(() => sealedAmountStatement({ ...inputs, publicKey: publicKey.with(63, publicKey[63]! ^ 1) })).toThrow(
    DecodeError,
  )
  expect(() => sealedAmountStatement({ ...inputs, publicKey: publicKey.slice(1) })).toThrow(RangeError)
  expect(() => sealedAmountStatement({ ...inputs, context: context.slice(1) })).toThrow(RangeError)
})

it('the registry finds a circuit by its id and nothing else', () => {
  for (const [id, circuit] of Object.entries(circuits)) expect(findCircuit(id)).toBe(circuit)
  expect(circuits['sealed-amount-32'].statement(inputs)).toEqual(sealedAmountStatement(inputs))
  for (const id of ['', 'toString', '__proto__', 'sealed-amount-64']) expect(findCircuit(id)).toBeUndefined()
})
