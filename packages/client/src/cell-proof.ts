/**
 * Proofs of homomorphic cells (DESIGN §3 "`stateRoot`", algorithm 1): that a cell, with all its slices, is part of the
 * state that a batch record names.
 *
 * What a server merely returned is never opened: one crafted ciphertext could cost the reader its key.
 */
import { decode, DecodeError, encode, equalBytes, VerificationError } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import {
  batchRecord as batchRecordCodec,
  cellDigestInput,
  cellProof as cellProofCodec,
  group0,
  stateRootAlgorithm,
  type BatchRecord,
  type StoredCell,
} from '@cipherlog/format'
import { leafHash, parseTlogProof, rootFromInclusionProof } from '@cipherlog/merkle/verify'
import { type RegistryView } from './registry-view.ts'
import { BehindError, type Replicas } from './replicas.ts'
import { proveLeaf } from './stored-command.ts'

/** 256 slices of a BFV sum would be more, but a cell has few of them; an answer is bounded by the transport. */
const cellProofBytesMax = 67_108_864
const batchRecordBytesMax = 1024

/** A cell as of a batch record under a cosigned checkpoint. */
export interface CellState {
  readonly cell: StoredCell
  /** The batch record's leaf. */
  readonly batchLeaf: number
  readonly batchRecord: BatchRecord
  /** Size of the checkpoint that proves it. */
  readonly treeSize: number
}

/** SHA-256(label `cell` ‖ 00 ‖ CBOR [number, namespace, key, slices]), 32 bytes. */
export function cellDigest({ number, namespace, key, slices }: StoredCell): Uint8Array {
  return labelledHash(
    labels.cell,
    encode(cellDigestInput, [
      number,
      namespace,
      key,
      slices.map(({ keyEpoch, count, sum, chain, bound }): [number, number, Uint8Array, Uint8Array, number] => [
        keyEpoch,
        count,
        sha256(sum),
        chain,
        bound,
      ]),
    ]),
  )
}

/**
 * Verifies an encoded cell proof against an encoded batch record. That the record is on the log is for the caller.
 * @throws DecodeError; VerificationError `ERR_VERIFY_CELL` if the cell is not part of that state, or another one.
 */
export function verifyCellProof(
  parts: { readonly cellProof: Uint8Array; readonly batchRecord: Uint8Array },
  wanted: { readonly namespace: string; readonly key: Uint8Array },
): { readonly cell: StoredCell; readonly record: BatchRecord } {
  const record = decode(batchRecordCodec, parts.batchRecord, batchRecordBytesMax)
  const { cell, cellCount, path } = decode(cellProofCodec, parts.cellProof, cellProofBytesMax)
  if (!equalBytes(record.group, group0)) throw badCell('is of another group')
  if (record.stateRoot === undefined) throw badCell('is in a state without cells')
  const [algorithm, root] = record.stateRoot
  if (algorithm !== stateRootAlgorithm) throw badCell(`stands under state root algorithm ${algorithm}, known is 1`)
  let proven: Uint8Array
  try {
    proven = rootFromInclusionProof({
      leafIndex: cell.number,
      treeSize: cellCount,
      leafHash: leafHash(cellDigest(cell)),
      proof: path,
    })
  } catch (cause) {
    if (!(cause instanceof VerificationError) && !(cause instanceof DecodeError)) throw cause
    throw badCell('comes with a malformed path', cause)
  }
  if (!equalBytes(proven, root)) throw badCell('is not part of the state that the batch record names')
  if (cell.namespace !== wanted.namespace || !equalBytes(cell.key, wanted.key)) throw badCell('is another one')
  if (cell.slices.some(({ keyEpoch }, i) => i > 0 && keyEpoch <= cell.slices[i - 1]!.keyEpoch)) {
    throw badCell('has slices out of order')
  }
  return { cell, record }
}

/**
 * Reads a cell, proven: not older than anything this client has written to it, read of it, or seen of the log.
 * @returns undefined if the replica knows no such cell, which is its word alone.
 */
export async function readCell(
  { view, replicas }: { readonly view: RegistryView; readonly replicas: Replicas },
  wanted: { readonly namespace: string; readonly key: Uint8Array },
): Promise<CellState | undefined> {
  const { namespace, key } = wanted
  const known = view.history.position(namespace, key)
  const state = await replicas.read(async (connection) => {
    const proven = await connection.cell({ namespace, key })
    if (proven === undefined) {
      if (known !== undefined) throw behind(namespace)
      return undefined
    }
    const { cell, record } = verifyCellProof(proven, wanted)
    const { index } = parseTlogProof(proven.tlogProof)
    const { batchRecord, tlogProof } = proven
    const checkpoint = await proveLeaf(view, connection, { index, record: batchRecord, tlogProof })
    if (known !== undefined && index < known.leaf) throw behind(namespace)
    return { cell, batchLeaf: index, batchRecord: record, treeSize: checkpoint.size }
  })
  if (state !== undefined) view.history.note(namespace, key, { leaf: state.batchLeaf, command: 0 })
  return state
}

function behind(namespace: string): BehindError {
  return new BehindError(`The replica has an older state of ${namespace} than this client has seen.`)
}

function badCell(what: string, cause?: unknown): VerificationError {
  return new VerificationError('ERR_VERIFY_CELL', `The cell ${what}; it was not opened. Ask another replica.`, {
    cause,
  })
}
