/**
 * A self-signed certificate for a replica's own TLS key: whoever runs the host has that key, so a hostile node passes
 * every check of the connection. As little X.509 (RFC 5280, version 1) as TLS needs to carry an Ed25519 key.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { concatBytes, fromHex, plainBytes, utf8 } from '@cipherlog/core'

/** PKCS #8 of an Ed25519 seed (RFC 8410 §7), before the 32 bytes. */
const pkcs8Prefix = fromHex('302e020100300506032b657004220420')
/** SEQUENCE of the OID 1.3.101.112 (RFC 8410 §3). */
const ed25519 = fromHex('300506032b6570')
/** OID 2.5.4.3, commonName. */
const commonName = fromHex('0603550403')

export interface NodeCertificate {
  /** PEM. */
  readonly certificate: string
  /** PEM, PKCS #8. A secret. */
  readonly privateKey: string
}

/** @param seed - Ed25519 seed, 32 bytes. */
export function nodeCertificate(seed: Uint8Array): NodeCertificate {
  const key = createPrivateKey({ key: Buffer.from(concatBytes(pkcs8Prefix, seed)), format: 'der', type: 'pkcs8' })
  const name = der(0x30, der(0x31, der(0x30, commonName, der(0x0c, utf8('cipherlog-node')))))
  // A client compares the key and nothing else, so any time will do.
  const validity = der(0x30, der(0x17, utf8('200101000000Z')), der(0x18, utf8('99991231235959Z')))
  const publicKey = plainBytes(createPublicKey(key).export({ format: 'der', type: 'spki' }))
  const content = der(0x30, der(0x02, new Uint8Array([1])), ed25519, name, validity, name, publicKey)
  const signature = concatBytes(new Uint8Array([0]), plainBytes(sign(null, content, key)))
  const certificate = der(0x30, content, ed25519, der(0x03, signature))
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${Buffer.from(certificate).toString('base64')}\n-----END CERTIFICATE-----\n`,
    privateKey: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  }
}

/** A DER element (ITU-T X.690) of less than 65,536 bytes. */
function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const n = content.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff]
  return concatBytes(new Uint8Array([tag, ...length]), content)
}
