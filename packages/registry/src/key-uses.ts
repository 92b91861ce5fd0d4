/**
 * One Ed25519 key, one use, for ever: a key of one replica, client, operator or reader never means anything else.
 *
 * A cosignature does not name its maker and a log key signs nothing but checkpoints, so a key under two uses would
 * count twice or speak for somebody else.
 */
import { CipherlogError, toHex } from '@cipherlog/core'
import { checkPublicKey } from '@cipherlog/crypto/signature'
import { type CosignerSet, type Genesis } from '@cipherlog/format'

/** Use of each key that was ever registered, by its hex. */
export type KeyUses = ReadonlyMap<string, string>

export interface KeyUse {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** Who holds it and for what; equal texts are the same use. */
  readonly use: string
}

export interface KeyUseProblem {
  readonly kind: 'invalid' | 'used'
  /** A sentence that says what to do. */
  readonly message: string
  readonly cause?: CipherlogError
}

/** What is wrong with registering these keys at once: each must be valid, listed once, and new or of the same use. */
export function problemOfKeyUses(uses: KeyUses, wanted: readonly KeyUse[]): KeyUseProblem | undefined {
  const listed = new Map<string, string>()
  for (const { publicKey, use } of wanted) {
    const id = toHex(publicKey)
    const other = listed.get(id)
    if (other !== undefined) {
      return { kind: 'used', message: `The key of ${use} is listed as that of ${other} too; make a key for each.` }
    }
    listed.set(id, use)
    const earlier = uses.get(id)
    if (earlier !== undefined && earlier !== use) {
      return { kind: 'used', message: `The key of ${use} is or was that of ${earlier}; make a new key.` }
    }
    try {
      checkPublicKey(publicKey)
    } catch (cause) {
      if (!(cause instanceof CipherlogError)) throw cause
      return { kind: 'invalid', message: `The key of ${use} is not valid: ${cause.message}`, cause }
    }
  }
  return undefined
}

/** The four keys of each replica. The peer id is part of the use: another incarnation has other keys. */
export function usesOfCosignerSet({ members }: CosignerSet): KeyUse[] {
  return members.flatMap(({ peerId, tlsKey, logKey, cosignerKey, answerKey }) => {
    const replica = `replica ${toHex(peerId)}`
    return [
      { publicKey: tlsKey, use: `${replica} for TLS` },
      { publicKey: logKey, use: `${replica} for the log` },
      { publicKey: cosignerKey, use: `${replica} for cosigning` },
      { publicKey: answerKey, use: `${replica} for answers` },
    ]
  })
}

/** Every signing key that a genesis lists. */
export function usesOfGenesis({ operators, recovery, cosigners }: Genesis): KeyUse[] {
  return [
    ...operators.keys.map((publicKey, i) => ({ publicKey, use: `operator ${i}` })),
    ...(recovery?.keys.keys ?? []).map((publicKey, i) => ({ publicKey, use: `recovery ${i}` })),
    ...usesOfCosignerSet(cosigners),
  ]
}

/** A writer. */
export function useOfClient(id: Uint8Array, publicKey: Uint8Array): KeyUse {
  return { publicKey, use: `client ${toHex(id)}` }
}

/** A reader; one person may be a member of several keysets. */
export function useOfReader(publicKey: Uint8Array): KeyUse {
  return { publicKey, use: `reader ${toHex(publicKey)}` }
}
