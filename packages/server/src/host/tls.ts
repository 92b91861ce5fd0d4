/**
 * TLS identities without a CA. A replica's TLS key is an Ed25519 seed made before genesis; its public key stands in
 * the cosigner set, and that list is all that a peer compares with. The certificate is only the envelope in which
 * TLS carries the key.
 *
 * Invariant: the TLS handshake proves that the other side holds the private key of the certificate it shows (RFC 8446
 * §4.4.3), so comparing the raw key is enough; it happens before any byte of the connection is read or written.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type TLSSocket } from 'node:tls'
import { concatBytes, fromHex } from '@cipherlog/core'
import { selfSignedCertificate } from './certificate.ts'

export interface TlsIdentity {
  /** PEM. */
  readonly certificate: string
  /** PEM, PKCS #8. A secret. */
  readonly privateKey: string
}

export interface PinnedTlsIdentity extends TlsIdentity {
  /** Raw Ed25519 public key, 32 bytes: what the cosigner set lists as `tlsKey`. */
  readonly publicKey: Uint8Array
}

/** PKCS #8 of an Ed25519 seed (RFC 8410 §7), before the 32 bytes. */
const pkcs8Prefix = fromHex('302e020100300506032b657004220420')
/** Fixed, so that the same seed gives the same certificate. */
const notBefore = new Date('2020-01-01T00:00:00Z')
const day = 86_400_000

/**
 * The certificate and key of a replica.
 * @param seed - Ed25519 seed, 32 bytes; read only.
 * @param commonName - shown by tools, checked by nobody; at most 64 bytes.
 * @throws RangeError if `seed.length` is not 32.
 */
export function pinnedTlsIdentity(seed: Uint8Array, commonName: string): PinnedTlsIdentity {
  if (seed.length !== 32) throw new RangeError(`an Ed25519 seed has 32 bytes, not ${seed.length}`)
  const privateKey = createPrivateKey({
    key: Buffer.from(concatBytes(pkcs8Prefix, seed)),
    format: 'der',
    type: 'pkcs8',
  })
  const publicKey = rawEd25519Key(createPublicKey(privateKey))!
  const certificate = selfSignedCertificate(privateKey, { commonName, hosts: [], notBefore, notAfter: undefined })
  return { certificate, privateKey: privateKeyPem(privateKey), publicKey }
}

/**
 * A fresh P-256 identity for the API, valid for 397 days: browsers speak no Ed25519 in TLS. They warn about it, and
 * lose nothing by going on: what a client believes is signed, never what TLS says.
 */
export function browserTlsIdentity(hosts: readonly string[]): TlsIdentity {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const now = Date.now()
  const certificate = selfSignedCertificate(privateKey, {
    commonName: 'cipherlog-node',
    hosts,
    notBefore: new Date(now - day),
    notAfter: new Date(now + 396 * day),
  })
  return { certificate, privateKey: privateKeyPem(privateKey) }
}

/** Options of both ends of a connection between peers: TLS 1.3, Ed25519 only, own check of the certificate. */
export function peerTlsOptions(identity: TlsIdentity) {
  return {
    cert: identity.certificate,
    key: identity.privateKey,
    minVersion: 'TLSv1.3',
    sigalgs: 'ed25519',
    // No CA: the caller compares peerTlsKey() with the listed keys.
    rejectUnauthorized: false,
    requestCert: true,
  } as const
}

/**
 * The raw Ed25519 key of the other side's certificate, 32 bytes; undefined if there is none or it is of another type.
 * A resumed session is refused (undefined): its key would be a memory, not a proof.
 */
export function peerTlsKey(socket: TLSSocket): Uint8Array | undefined {
  if (socket.isSessionReused()) return undefined
  const certificate = socket.getPeerX509Certificate()
  return certificate === undefined ? undefined : rawEd25519Key(certificate.publicKey)
}

function rawEd25519Key(key: KeyObject): Uint8Array | undefined {
  if (key.asymmetricKeyType !== 'ed25519') return undefined
  return new Uint8Array(Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url'))
}

function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
