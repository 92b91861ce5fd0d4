/** A replica's own keys: made before genesis, kept in a file that only its user can read. */
import { open, readFile } from 'node:fs/promises'
import { CipherlogError, decode, encode, systemRandom, writeU32, type Random } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { nodeKeys, type CosignerMember, type NodeKeys } from '@cipherlog/format'

/** Fresh keys with a fresh peer id of incarnation 0: one id, one disk. */
export function generateNodeKeys(random: Random = systemRandom): NodeKeys {
  const peerId = random.bytes(16)
  writeU32(peerId, 12, 0)
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
