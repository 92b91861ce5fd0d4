/** What travels inside another format fits the limit it has there, with every field at its own limit. */
import { type Codec } from '@cipherlog/core'
import * as format from '@cipherlog/format'
import { hardState, hardStateBytesMax } from '@cipherlog/format/hard-state'
import { expect, it } from 'vitest'
import { encodedBytesMax } from '../../../scripts/format-docs/size.ts'

/** The limit of the byte string `place` within `codec`: a field name or an index. */
function limitIn(codec: Codec<unknown>, place: string | number): number {
  const { shape } = codec
  const part =
    shape.kind === 'record'
      ? shape.fields.find(({ name }) => name === place)?.codec
      : shape.kind === 'tuple'
        ? shape.items[Number(place)]
        : undefined
  if (part?.shape.kind !== 'bytes') throw new TypeError(`${place} is no byte string`)
  return part.shape.max
}

it.each<[string, Codec<unknown>, number]>([
  ['a leaf record, an entry of a C2SP entry bundle', format.leafRecord, format.leafRecordBytesMax],
  ['a batch record, too', format.batchRecord, format.leafRecordBytesMax],
  ["a batch record, in a snapshot's manifest", format.batchRecord, limitIn(format.snapshotManifest, 'batchRecord')],
  ["a snapshot's manifest, in a frame", format.snapshotManifest, format.snapshotManifestBytesMax],
  ["a signed bundle, in a snapshot's trail edge", format.signedCommandBundle, limitIn(format.snapshotLeaf, 'signed')],
  ["a signed key event, in a snapshot's trail edge", format.signedKeyEvent, limitIn(format.snapshotLeaf, 'signed')],
  ["a leaf of the trail edge, in a snapshot's stream", format.snapshotLeaf, format.snapshotValueBytesMax],
  ['a session opening, signed', format.sessionOpening, limitIn(format.signedSessionOpening, 0)],
  ['an applied answer, signed', format.applied, limitIn(format.signedApplied, 0)],
  ['a key envelope, as args of a head', format.keyEnvelope, limitIn(format.commandHead, 'args')],
  ['wraps, stored', format.wraps, limitIn(format.storedEnvelope, 'wraps')],
  ['a signed bundle, in a log entry', format.signedCommandBundle, limitIn(format.logEntry, 0)],
  ['a signed key event, in a log entry', format.signedKeyEvent, limitIn(format.logEntry, 0)],
  ['a signed opening, in a log entry', format.signedSessionOpening, limitIn(format.logEntry, 0)],
  ['a signed key event, in a policy chain', format.signedKeyEvent, limitIn(format.policyChainLink, 'event')],
  ['a signed key event, stored', format.signedKeyEvent, limitIn(format.storedKeyEvent, 'signed')],
  ['a signed genesis, in a policy chain', format.signedGenesis, limitIn(format.policyChain, 0)],
  ['a signed genesis, stored', format.signedGenesis, limitIn(format.storedGenesis, 0)],
  ['a leaf record, in a receipt', format.leafRecord, limitIn(format.receipt, 'leafRecord')],
  ['a log entry', format.logEntry, format.logEntryBytesMax],
  ['a membership change, in a log entry', format.membershipChange, format.membershipChangeBytesMax],
  ['a HardState', hardState, hardStateBytesMax],
])('%s', (_, codec, limit) => {
  expect(encodedBytesMax(codec)).toBeLessThanOrEqual(limit)
})
