/**
 * Receipts (DESIGN §5 "Receipt"): that a leaf stands in the log at a position, under a checkpoint that counts.
 * Verifiable for ever, offline, by anyone with the trust policy.
 *
 * A receipt shows the cosigned verdict of the replicas. Whether it was right, an audit shows: the client's key,
 * grant and proof are on the log, not in the receipt.
 */
import { decode, encode, equalBytes, VerificationError } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  bundleBytesMax,
  commandBundle,
  formatVersion,
  leafKinds,
  leafRecord as leafRecordCodec,
  receipt as receiptCodec,
  signedCommandBundle,
  type CommandHead,
  type LeafRecord,
  type TrustPolicy,
  type Verdict,
} from '@cipherlog/format'
import { formatTlogProof, leafHash, parseTlogProof, verifyInclusion } from '@cipherlog/merkle/verify'
import { type VerifiedCheckpoint } from './checkpoint-policy.ts'
import { ownCopy } from './own-copy.ts'
import { openPolicyChain, policyChainBytesMax } from './policy.ts'

/** Bytes of an encoded receipt. */
export const receiptBytesMax = policyChainBytesMax + 262_144

/** Bytes of a signed command bundle. */
const signedBundleBytesMax = bundleBytesMax + 128

export interface VerifiedReceipt {
  /** `origin#leaf`, or `origin#leaf.command` if a command was named. */
  readonly position: string
  readonly leafIndex: number
  readonly leafRecord: LeafRecord
  readonly checkpoint: VerifiedCheckpoint
  /**
   * There if the receipt's policy chain names a later generation. True: that one was restored from before this leaf, so
   * the leaf stands in the old log only. A receipt made before the restore cannot know.
   */
  readonly lostInRestore?: boolean
  /** Of the named command. */
  readonly verdict?: Verdict
  /** Of the named command, if its bundle was handed in. */
  readonly head?: CommandHead
}

/** Makes a receipt of its parts; nothing is verified. */
export function encodeReceipt(parts: {
  /** Encoded. */
  readonly leafRecord: Uint8Array
  readonly leafIndex: number
  /** Against the checkpoint, the leaf's sibling first. */
  readonly inclusionProof: readonly Uint8Array[]
  /** The note. */
  readonly checkpoint: string
  /** Encoded. */
  readonly policyChain: Uint8Array
}): Uint8Array {
  const { leafRecord, leafIndex, inclusionProof, checkpoint, policyChain } = parts
  const tlogProof = formatTlogProof({ index: leafIndex, proof: inclusionProof, checkpoint })
  return encode(receiptCodec, { version: formatVersion, leafRecord, tlogProof, policyChain })
}

/**
 * Verifies a receipt and, if the holder adds them, that it is about this bundle and what became of this command.
 * @param parts.bundle - the signed CBOR array of the leaf (bundle, opening, key event), as it was sent.
 * @param parts.command - counted from 0.
 * @throws {@link DecodeError} `ERR_DECODE_*`.
 * @throws as {@link openPolicyChain} and {@link PolicyView.verifyCheckpoint}.
 * @throws {@link VerificationError} `ERR_VERIFY_INCLUSION`; `ERR_VERIFY_LEAF` if the leaf is of another group or its
 * parts contradict each other, or it has no such command; `ERR_VERIFY_BUNDLE` if it is not about this bundle.
 */
export function verifyReceipt(parts: {
  readonly receipt: Uint8Array
  readonly trustPolicy: TrustPolicy
  readonly bundle?: Uint8Array
  readonly command?: number
}): VerifiedReceipt {
  const receipt = decode(receiptCodec, ownCopy(parts.receipt, receiptBytesMax, 'receipt'))
  const { index, proof, checkpoint: note } = parseTlogProof(receipt.tlogProof)
  const policy = openPolicyChain(receipt.policyChain, parts.trustPolicy)
  const checkpoint = policy.verifyCheckpoint(note)
  verifyInclusion({
    leafIndex: index,
    treeSize: checkpoint.size,
    rootHash: checkpoint.rootHash,
    leafHash: leafHash(receipt.leafRecord),
    proof,
  })
  const leafRecord = decode(leafRecordCodec, receipt.leafRecord)
  if (!equalBytes(leafRecord.group, parts.trustPolicy.group)) {
    throw new VerificationError('ERR_VERIFY_LEAF', 'The leaf names another group than its trail; keep the receipt.')
  }
  const heads = parts.bundle === undefined ? undefined : headsOf(leafRecord, parts.bundle)
  const next = policy.groupStarts.find(({ start }) => start.oldOrigin === checkpoint.origin)
  const verified = {
    leafIndex: index,
    leafRecord,
    checkpoint,
    ...(next === undefined ? {} : { lostInRestore: index >= next.start.end.treeSize }),
  }
  if (parts.command === undefined) return { position: `${checkpoint.origin}#${index}`, ...verified }
  const verdict = leafRecord.verdicts?.[parts.command]
  if (verdict === undefined) {
    throw new VerificationError('ERR_VERIFY_LEAF', `The leaf has no command ${parts.command}; they count from 0.`)
  }
  const head = heads?.[parts.command]
  return {
    position: `${checkpoint.origin}#${index}.${parts.command}`,
    ...verified,
    verdict,
    ...(head === undefined ? {} : { head }),
  }
}

/** Heads of the bundle that the leaf is about; undefined for other kinds of leaves. */
function headsOf(leaf: LeafRecord, signed: Uint8Array): readonly CommandHead[] | undefined {
  if (!equalBytes(sha256(signed), leaf.digest)) {
    throw new VerificationError('ERR_VERIFY_BUNDLE', 'The receipt is about another bundle; look up the one you sent.')
  }
  if (leaf.kind !== leafKinds.commandBundle) return undefined
  const [bundleBytes] = decode(signedCommandBundle, ownCopy(signed, signedBundleBytesMax, 'signed bundle'))
  const { heads } = decode(commandBundle, bundleBytes)
  if (leaf.verdicts?.length !== heads.length) {
    throw new VerificationError('ERR_VERIFY_LEAF', 'The leaf has not one verdict for each command; keep the receipt.')
  }
  return heads
}
