import { createPrivateKey, sign, verify, X509Certificate, createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { toHex } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { browserTlsIdentity, peerTlsKey, peerTlsOptions, pinnedTlsIdentity, type TlsIdentity } from './tls.ts'

const seed = (byte: number) => new Uint8Array(32).fill(byte)

/** The keys that each side sees of the other after a real handshake. */
async function handshake(serverIdentity: TlsIdentity, clientOptions: object) {
  const server = createServer(peerTlsOptions(serverIdentity))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>
    const { port } = server.address() as AddressInfo
    const client = connect({ host: '127.0.0.1', port, ...clientOptions })
    await once(client, 'secureConnect')
    const [socket] = await accepted
    const seen = { byServer: peerTlsKey(socket), byClient: peerTlsKey(client), protocol: client.getProtocol() }
    client.destroy()
    socket.destroy()
    return seen
  } finally {
    server.close()
  }
}

describe('pinnedTlsIdentity()', () => {
  it('gives a certificate that OpenSSL parses and that verifies under its own key', () => {
    const identity = pinnedTlsIdentity(seed(7), 'cipherlog-node')
    const certificate = new X509Certificate(identity.certificate)
    expect(certificate.subject).toBe('CN=cipherlog-node')
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.checkPrivateKey(createPrivateKey(identity.privateKey))).toBe(true)
    expect(certificate.ca).toBe(false)
    expect(certificate.validToDate.getUTCFullYear()).toBe(9999)
  })

  it('is a function of the seed, with the public key of RFC 8032 §7.1 test 1', () => {
    const rfcSeed = Uint8Array.from(
      Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'),
    )
    const identity = pinnedTlsIdentity(rfcSeed, 'a')
    expect(toHex(identity.publicKey)).toBe('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
    expect(pinnedTlsIdentity(rfcSeed, 'a')).toEqual(identity)
  })

  it('refuses a seed of another length', () => {
    expect(() => pinnedTlsIdentity(new Uint8Array(31), 'a')).toThrow(RangeError)
  })
})

describe('browserTlsIdentity()', () => {
  it('gives a P-256 certificate for its hosts, for less than 398 days', () => {
    const identity = browserTlsIdentity(['localhost', '127.0.0.1'])
    const certificate = new X509Certificate(identity.certificate)
    expect(certificate.checkHost('localhost')).toBe('localhost')
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(certificate.checkHost('example.org')).toBeUndefined()
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.validToDate.getTime() - certificate.validFromDate.getTime()).toBeLessThan(398 * 86_400_000)
    const message = Buffer.from('m')
    const signature = sign('sha256', message, createPrivateKey(identity.privateKey))
    expect(verify('sha256', message, createPublicKey(identity.certificate), signature)).toBe(true)
  })
})

describe('peerTlsKey()', () => {
  it('is the raw key of the other side, on both sides, over TLS 1.3', async () => {
    const [a, b] = [pinnedTlsIdentity(seed(1), 'a'), pinnedTlsIdentity(seed(2), 'b')]
    const seen = await handshake(a, peerTlsOptions(b))
    expect(seen).toEqual({ byServer: b.publicKey, byClient: a.publicKey, protocol: 'TLSv1.3' })
  })

  it('is undefined for a client without a certificate', async () => {
    const seen = await handshake(pinnedTlsIdentity(seed(1), 'a'), { rejectUnauthorized: false })
    expect(seen.byServer).toBeUndefined()
  })

  it('is undefined for a client with a key of another type', async () => {
    const other = browserTlsIdentity([])
    const options = { cert: other.certificate, key: other.privateKey, rejectUnauthorized: false }
    const seen = await handshake(pinnedTlsIdentity(seed(1), 'a'), options)
    expect(seen.byServer).toBeUndefined()
  })
})
