/** What a lying node would have to change to read along: a reader's key, in the key event that made it. */
import { decode, DecodeError, encode, equalBytes } from '@cipherlog/core'
import { keyEvent, signedKeyEvent, type KeyEvent, type KeyVersion } from '@cipherlog/format'

/** Whether a signed key event brings the key of a reader, as an `hpke-xwing` keyset does. The genesis does not. */
export function bringsReaderKey(signed: Uint8Array): boolean {
  try {
    return versionOf(openEvent(signed).event)?.memberKeys !== undefined
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}

/**
 * The same event with the first reader's key replaced, under the operators' old signatures: nobody else can sign.
 * @param publicKey - X-Wing, 1,216 bytes.
 */
export function substituteReaderKey(signed: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const { event, signatures } = openEvent(signed)
  const version = versionOf(event)
  if (version?.memberKeys === undefined) throw new RangeError('the event brings no reader key')
  const memberKeys = version.memberKeys.map((entry, i) => (i === 0 ? { ...entry, key: publicKey } : entry))
  const operation = { ...event.operation, version: { ...version, memberKeys } } as KeyEvent['operation']
  const changed = encode(signedKeyEvent, [encode(keyEvent, { ...event, operation }), signatures])
  if (equalBytes(changed, signed)) throw new RangeError('the new key is the old one')
  return changed
}

function openEvent(signed: Uint8Array) {
  const [bytes, signatures] = decode(signedKeyEvent, signed)
  return { event: decode(keyEvent, bytes), signatures }
}

function versionOf({ operation }: KeyEvent): KeyVersion | undefined {
  return operation.type === 'createKeyset' || operation.type === 'addKeyVersion' ? operation.version : undefined
}
