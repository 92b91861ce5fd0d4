/**
 * One leaf by itself: its record decodes, the signed bytes have the digest in it, and each body the digest in its
 * head. What a leaf means, and whether the rules allow it, is for the replay.
 */
import { CipherlogError, decode, equalBytes } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  batchRecord,
  commandBundle,
  leafKinds,
  leafRecord,
  signedCommandBundle,
  splitBodies,
  verdictName,
} from '@cipherlog/format'
import { decodeKeyEvent } from '@cipherlog/registry'
import { type Remarks } from './report.ts'
import { type TrailLeaf } from './trail-leaves.ts'

const kindNames: Readonly<Record<number, string>> = {
  [leafKinds.genesis]: 'genesis',
  [leafKinds.keyEvent]: 'key event',
  [leafKinds.sessionOpening]: 'session opening',
  [leafKinds.commandBundle]: 'command bundle',
  [leafKinds.quarantine]: 'quarantine',
  [leafKinds.batchRecord]: 'batch record',
  [leafKinds.groupStart]: 'group start',
}

/** How often what was recorded. */
export interface Tally {
  readonly leaves: Record<string, number>
  readonly verdicts: Record<string, number>
}

/**
 * Checks a leaf and counts it.
 * @returns its kind, and whether it is sound.
 */
export function checkLeaf(leaf: TrailLeaf, tally: Tally, remarks: Remarks): { kind: number; sound: boolean } {
  const before = remarks.problemCount
  const where = `leaf ${leaf.index}`
  const kind = kindOf(leaf.record)
  remarks.attempt(where, () => {
    if (kind === leafKinds.batchRecord) {
      decode(batchRecord, leaf.record)
      if (leaf.signed.length > 0) throw digestError('Nobody signs a batch record, but the pack has bytes for it.')
      checkNoBody(leaf)
      return
    }
    const { digest, verdicts } = decode(leafRecord, leaf.record)
    for (const verdict of (kind === leafKinds.commandBundle && verdicts) || [])
      count(tally.verdicts, verdictName(verdict))
    if (!equalBytes(digest, sha256(leaf.signed))) {
      throw digestError('The signed bytes in the pack do not have the digest in the leaf record.')
    }
    if (kind === leafKinds.commandBundle) checkBodies(leaf)
    else checkNoBody(leaf)
    // An unreadable event could hide a change of cosigners.
    if (kind === leafKinds.keyEvent) decodeKeyEvent(leaf.signed)
  })
  count(tally.leaves, kindNames[kind] ?? `kind ${kind}`)
  return { kind, sound: remarks.problemCount === before }
}

/** Both formats of records have the kind as the first value of a small map; 255 if there is none. */
export function kindOf(record: Uint8Array): number {
  return record[2] ?? 255
}

/** Bytes of `tile/body` that a bundle announces: ciphertext and proof of each command. */
export function announcedBodyBytes(signed: Uint8Array): number {
  const { heads } = decode(commandBundle, decode(signedCommandBundle, signed)[0])
  return heads.reduce((sum, { ciphertext, proof }) => sum + (ciphertext?.bytes ?? 0) + (proof?.bytes ?? 0), 0)
}

function checkBodies({ signed, body }: TrailLeaf): void {
  const { heads } = decode(commandBundle, decode(signedCommandBundle, signed)[0])
  if (body === undefined) return
  const bodies = splitBodies(heads, body, ['ciphertext', 'proof'])
  heads.forEach((head, command) => {
    for (const part of ['ciphertext', 'proof'] as const) {
      const bytes = bodies[command]![part]
      if (bytes === undefined || equalBytes(sha256(bytes), head[part]!.sha256)) continue
      const zeroed = bytes.every((byte) => byte === 0) ? ' (it is all zeros, but no erasure is on the log)' : ''
      const message = `The ${part} of command ${command} does not have the digest that its writer signed${zeroed}.`
      throw new CipherlogError('ERR_AUDIT_BODY', message)
    }
  })
}

/** Only bundles have bodies: bytes beside anything else, nobody has signed. */
function checkNoBody({ body }: TrailLeaf): void {
  if (body === undefined || body.length === 0) return
  throw new CipherlogError('ERR_AUDIT_BODY', `${body.length} bytes of bodies stand beside a leaf that has none.`)
}

function digestError(message: string): CipherlogError {
  return new CipherlogError('ERR_AUDIT_DIGEST', message)
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
