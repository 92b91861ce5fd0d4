/** The parts of a leaf against one another: the record names the signed bytes, their heads name the bodies. */
import { hash } from 'node:crypto'
import { decode, DecodeError, equalBytes, plainBytes } from '@cipherlog/core'
import {
  batchRecord,
  commandBundle,
  leafKinds,
  leafRecord,
  signedCommandBundle,
  splitBodies,
  type SnapshotLeaf,
} from '@cipherlog/format'

/** What is wrong with a leaf that came from elsewhere, or undefined. Its record is the tree's business. */
export function leafProblem({ entry, signed, body }: SnapshotLeaf): string | undefined {
  try {
    // Both formats of records have the kind as the first value of a small map.
    if (entry[2] === leafKinds.batchRecord) {
      decode(batchRecord, entry)
      return signed.length + body.length === 0 ? undefined : 'a batch record has bytes beside it'
    }
    const { kind, digest } = decode(leafRecord, entry)
    if (!equalBytes(sha256(signed), digest)) return 'its signed bytes do not have the digest in its record'
    if (kind !== leafKinds.commandBundle) return body.length === 0 ? undefined : 'only bundles have bodies'
    const { heads } = decode(commandBundle, decode(signedCommandBundle, signed)[0])
    const bodies = splitBodies(heads, body, ['ciphertext', 'proof'])
    const differs = heads.some((head, command) =>
      (['ciphertext', 'proof'] as const).some((part) => {
        const bytes = bodies[command]![part]
        return bytes !== undefined && !equalBytes(sha256(bytes), head[part]!.sha256)
      }),
    )
    return differs ? 'a body does not have the digest in its head' : undefined
  } catch (error) {
    if (error instanceof DecodeError) return error.message
    throw error
  }
}

function sha256(bytes: Uint8Array): Uint8Array {
  return plainBytes(hash('sha256', bytes, 'buffer'))
}
