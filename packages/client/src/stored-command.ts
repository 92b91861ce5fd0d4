/**
 * Commands as replicas hand them out: believed only as far as their writer's signature and the tree reach.
 *
 * A leaf record counts once it is proven to stand in a checkpoint; the bundle beside it counts if it has the record's
 * digest and its client signed it, so no majority of replicas can put words into a client's mouth.
 */
import { decode, DecodeError, equalBytes, toHex, VerificationError } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import {
  commandBundle,
  group0,
  leafKinds,
  leafRecord as leafRecordCodec,
  leafRecordBytesMax,
  signedCommandBundle,
  type CommandBundle,
  type LeafRecord,
} from '@cipherlog/format'
import { leafHash, parseCheckpoint, parseNote, parseTlogProof, verifyInclusion } from '@cipherlog/merkle/verify'
import { type VerifiedCheckpoint } from '@cipherlog/registry'
import { type Connection } from './connection.ts'
import { type RegistryView } from './registry-view.ts'
import { BehindError } from './replicas.ts'

/** A signed bundle: 1 MiB, a signature and what CBOR puts around it. */
const signedBundleBytesMax = 1_048_576 + 128

export interface StoredBundle {
  readonly record: LeafRecord
  readonly bundle: CommandBundle
}

/** The bundle of a leaf; undefined if the leaf is of another kind. @throws VerificationError `ERR_VERIFY_LEAF`. */
export async function openBundle(
  view: RegistryView,
  leaf: { readonly record: Uint8Array; readonly signed: Uint8Array },
): Promise<StoredBundle | undefined> {
  // A batch record has no signed bytes, and another format.
  if (leaf.signed.length === 0) return undefined
  const record = decode(leafRecordCodec, leaf.record, leafRecordBytesMax)
  if (record.kind !== leafKinds.commandBundle) return undefined
  if (!equalBytes(record.group, group0)) throw badLeaf('names another group')
  if (!equalBytes(sha256(leaf.signed), record.digest)) throw badLeaf('goes with another bundle')
  const [bundleBytes, signature] = decode(signedCommandBundle, leaf.signed, signedBundleBytesMax)
  const bundle = decode(commandBundle, bundleBytes)
  const known = (await clientOf(view, bundle.client))?.publicKey
  if (known === undefined) throw badLeaf(`is by client ${toHex(bundle.client)}, which the registry does not know`)
  if (!equalBytes(bundle.cluster, view.current.registry.cluster)) throw badLeaf('is for another cluster')
  if (!verifyLabelled(known, labels.bundle, bundleBytes, signature)) throw badLeaf('is not signed by its client')
  if (record.verdicts?.length !== bundle.heads.length) throw badLeaf('has not one verdict for each command')
  return { record, bundle }
}

async function clientOf(view: RegistryView, client: Uint8Array) {
  // One that was added since the last proof is found by the next.
  return view.current.registry.client(client) ?? (await view.refresh()).registry.client(client)
}

/**
 * Proves that a leaf stands at its index, under a checkpoint not smaller than any seen before.
 * @param tlogProof - empty if the replica had none yet: then its receipt is waited for.
 */
export async function proveLeaf(
  view: RegistryView,
  connection: Connection,
  leaf: { readonly index: number; readonly record: Uint8Array; readonly tlogProof: string },
): Promise<VerifiedCheckpoint> {
  const { index, proof, checkpoint: note } = parseTlogProof(leaf.tlogProof)
  if (index !== leaf.index) throw badLeaf(`is proven at ${index}, not at ${leaf.index}`)
  // What was written before a restore stands in the old tree, up to where the new one goes on.
  const older = parseCheckpoint(parseNote(note).text).origin !== view.history.origin
  if (older) {
    const end = view.acceptEnd(note)
    verifyInclusion({
      leafIndex: index,
      treeSize: end.size,
      rootHash: end.rootHash,
      leafHash: leafHash(leaf.record),
      proof,
    })
    return end
  }
  const seenSize = view.history.head!.treeSize
  const checkpoint = await view.accept(connection, note)
  if (checkpoint.size < seenSize) {
    throw new BehindError(`The replica proves under ${checkpoint.size} leaves, ${seenSize} were seen; ask another one.`)
  }
  verifyInclusion({
    leafIndex: index,
    treeSize: checkpoint.size,
    rootHash: checkpoint.rootHash,
    leafHash: leafHash(leaf.record),
    proof,
  })
  return checkpoint
}

function badLeaf(what: string): VerificationError {
  return new VerificationError('ERR_VERIFY_LEAF', `The leaf that the replica hands out ${what}; ask another replica.`)
}

/** A head whose bodies are cut off or erased. */
export function bodyOf(ciphertext: Uint8Array | undefined, sha256Wanted: Uint8Array): Uint8Array {
  if (ciphertext === undefined || !equalBytes(sha256(ciphertext), sha256Wanted)) {
    throw new DecodeError('ERR_DECODE_BODY', 'The ciphertext is not the one that its head names: erased or altered.')
  }
  return ciphertext
}
