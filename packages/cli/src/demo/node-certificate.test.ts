import { createPublicKey, X509Certificate } from 'node:crypto'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { expect, test } from 'vitest'
import { nodeCertificate } from './node-certificate.ts'

test('nodeCertificate() shows the key of the seed, signed by itself', () => {
  const seed = new Uint8Array(32).fill(7)
  const { certificate, privateKey } = nodeCertificate(seed)
  const parsed = new X509Certificate(certificate)
  expect(parsed.subject).toBe('CN=cipherlog-node')
  expect(parsed.verify(parsed.publicKey)).toBe(true)
  const raw = Buffer.from(parsed.publicKey.export({ format: 'jwk' }).x!, 'base64url')
  expect(new Uint8Array(raw)).toEqual(publicKeyOf(seed))
  expect(createPublicKey(privateKey).equals(parsed.publicKey)).toBe(true)
})
