/** A replica's own keys: made before it joins, kept in a file that only its user can read. */
import { open, readFile } from 'node:fs/promises'
import { CipherlogError, decode, encode, readU32, systemRandom, toHex, writeU32, type Random } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { nodeKeys, roles, type CosignerMember, type NodeKeys } from '@cipherlog/format'
import { possessionOf } from '@cipherlog/registry'

/**
 * Fresh keys. A peer id is one disk: a node that lost its disk comes back as the next incarnation of the same node,
 * with new keys, so that it can break no promise that it has forgotten.
 * @param options.replaces - peer id of the incarnation that is gone; else a fresh node of incarnation 0.
 */
export function generateNodeKeys(
  random: Random = systemRandom,
  options: { readonly replaces?: Uint8Array } = {},
): NodeKeys {
  const { replaces } = options
  const peerId = replaces?.slice() ?? random.bytes(16)
  writeU32(peerId, 12, replaces === undefined ? 0 : readU32(replaces, 12) + 1)
  return {
    version: 1,
    peerId,
    tls: random.bytes(32),
    log: random.bytes(32),
    cosigner: random.bytes(32),
    answer: random.bytes(32),
  }
}

/** What a genesis or cosigner set lists of a replica. */
export function cosignerMemberOf(keys: NodeKeys): CosignerMember {
  return {
    peerId: keys.peerId,
    tlsKey: publicKeyOf(keys.tls),
    logKey: publicKeyOf(keys.log),
    cosignerKey: publicKeyOf(keys.cosigner),
    answerKey: publicKeyOf(keys.answer),
  }
}

/** What an operator needs to list a replica, in hex: public, and good for one cluster. */
export interface MemberDescription extends Readonly<Record<keyof CosignerMember, string>> {
  /** Its answer key's proof of possession for that cluster. */
  readonly answerPossession: string
}

export function describeMember(keys: NodeKeys, cluster: Uint8Array): MemberDescription {
  const { peerId, tlsKey, logKey, cosignerKey, answerKey } = cosignerMemberOf(keys)
  return {
    peerId: toHex(peerId),
    tlsKey: toHex(tlsKey),
    logKey: toHex(logKey),
    cosignerKey: toHex(cosignerKey),
    answerKey: toHex(answerKey),
    answerPossession: toHex(possessionOf(keys.answer, roles.answer, cluster)),
  }
}

/** Writes keys to a new file, mode 0600, durably. @throws CipherlogError `ERR_KEYS_FILE` if it is there already. */
export async function writeNodeKeys(file: string, keys: NodeKeys): Promise<void> {
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(encode(nodeKeys, keys))
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (cause) {
    throw new CipherlogError('ERR_KEYS_FILE', `Cannot write the keys to ${file}; choose a path where no file is.`, {
      cause,
    })
  }
}

/** @throws CipherlogError `ERR_KEYS_FILE`; DecodeError if the file holds something else */
export async function readNodeKeys(file: string): Promise<NodeKeys> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(file)
  } catch (cause) {
    throw new CipherlogError('ERR_KEYS_FILE', `Cannot read ${file}; make keys with \`cipherlog-node keygen\`.`, {
      cause,
    })
  }
  return decode(nodeKeys, new Uint8Array(bytes), 1024)
}
