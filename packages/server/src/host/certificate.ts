/**
 * Self-signed X.509 certificates (RFC 5280), as little of them as TLS needs to carry a public key. Nobody checks a
 * chain: peers compare the raw key with the one that the cosigner set lists.
 *
 * Written out in DER (ITU-T X.690) because the shape is fixed; OpenSSL is the judge in the tests.
 */
import { createHash, createPublicKey, sign, type KeyObject } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { concatBytes, plainBytes, toBase64, utf8 } from '@cipherlog/core'

const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  generalizedTime: 0x18,
  utcTime: 0x17,
  sequence: 0x30,
  set: 0x31,
  explicit0: 0xa0,
  explicit3: 0xa3,
  dnsName: 0x82,
  ipAddress: 0x87,
} as const

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const n = content.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff]
  return concatBytes(new Uint8Array([tag, ...length]), content)
}

const oid = (...body: readonly number[]) => der(tags.oid, new Uint8Array(body))
const commonNameOid = oid(0x55, 0x04, 0x03) // 2.5.4.3
const basicConstraintsOid = oid(0x55, 0x1d, 0x13) // 2.5.29.19
const subjectAltNameOid = oid(0x55, 0x1d, 0x11) // 2.5.29.17
/** Signature algorithms by key type: RFC 8410 §3 and RFC 5758 §3.2, both without parameters. */
const algorithms: Readonly<Record<string, { readonly id: Uint8Array; readonly hash: string | null }>> = {
  ed25519: { id: der(tags.sequence, oid(0x2b, 0x65, 0x70)), hash: null },
  ec: { id: der(tags.sequence, oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)), hash: 'sha256' },
}

export interface CertificateContent {
  /** At most 64 bytes. */
  readonly commonName: string
  /** Host names and IPv4 addresses that a browser may find it under. */
  readonly hosts: readonly string[]
  readonly notBefore: Date
  /** Undefined: no expiry is intended (RFC 5280 §4.1.2.5, 99991231235959Z). */
  readonly notAfter: Date | undefined
}

/**
 * A certificate for the public key of `privateKey` (Ed25519, or EC P-256 with SHA-256), signed by itself, as PEM.
 * With Ed25519 the same content gives the same bytes. The serial number is taken from the public key's hash.
 */
export function selfSignedCertificate(privateKey: KeyObject, content: CertificateContent): string {
  const algorithm = algorithms[privateKey.asymmetricKeyType ?? '']
  if (algorithm === undefined) throw new TypeError(`no certificates for ${privateKey.asymmetricKeyType} keys`)
  const publicKeyInfo = plainBytes(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }))
  const serial = plainBytes(createHash('sha256').update(publicKeyInfo).digest().subarray(0, 16))
  serial[0] = (serial[0]! & 0x3f) | 0x40 // positive, no leading zero
  const name = der(
    tags.sequence,
    der(tags.set, der(tags.sequence, commonNameOid, der(tags.utf8String, utf8(content.commonName)))),
  )
  const extensions = [
    der(
      tags.sequence,
      basicConstraintsOid,
      der(tags.boolean, new Uint8Array([0xff])),
      der(tags.octetString, der(tags.sequence)),
    ),
  ]
  if (content.hosts.length > 0) {
    const names = content.hosts.map((host) =>
      isIPv4(host) ? der(tags.ipAddress, new Uint8Array(host.split('.').map(Number))) : der(tags.dnsName, utf8(host)),
    )
    extensions.push(der(tags.sequence, subjectAltNameOid, der(tags.octetString, der(tags.sequence, ...names))))
  }
  const tbsCertificate = der(
    tags.sequence,
    der(tags.explicit0, der(tags.integer, new Uint8Array([2]))), // v3
    der(tags.integer, serial),
    algorithm.id,
    name,
    der(tags.sequence, time(content.notBefore), time(content.notAfter)),
    name,
    publicKeyInfo,
    der(tags.explicit3, der(tags.sequence, ...extensions)),
  )
  const signature = plainBytes(sign(algorithm.hash, tbsCertificate, privateKey))
  const certificate = der(
    tags.sequence,
    tbsCertificate,
    algorithm.id,
    der(tags.bitString, new Uint8Array([0]), signature),
  )
  const lines = toBase64(certificate).match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** UTCTime until 2049, GeneralizedTime after that (RFC 5280 §4.1.2.5). */
function time(date: Date | undefined): Uint8Array {
  if (date === undefined) return der(tags.generalizedTime, utf8('99991231235959Z'))
  const digits = date.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)
  return date.getUTCFullYear() < 2050
    ? der(tags.utcTime, utf8(`${digits.slice(2)}Z`))
    : der(tags.generalizedTime, utf8(`${digits}Z`))
}
