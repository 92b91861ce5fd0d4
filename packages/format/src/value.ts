/**
 * Values: `salt (32) ‖ AES-256-GCM ciphertext with tag`. The arrays below are what the salt and the message key
 * are derived from; the sealing itself is in `@cipherlog/crypto/seal`.
 */
import { bytes, text, tuple } from '@cipherlog/core'
import { clusterId, digest, namespaceName } from './common.ts'

/** Salt 32, u32 length padded to at least one byte, tag 16. */
export const sealedValueBytesMin = 32 + 5 + 16
/** CBOR [32 random bytes, SHA-256(plaintext)], label `salt`, keyed by the content key. */
export const saltInput = tuple(bytes(32), digest)
/** CBOR [salt, H], label `value`, keyed by the content key: the key of this one message. */
export const messageKeyInput = tuple(bytes(32), digest)
/** CBOR [cluster, namespace, name], label `name`, keyed by the name key. */
export const blindNameInput = tuple(clusterId, namespaceName, text(1024))
