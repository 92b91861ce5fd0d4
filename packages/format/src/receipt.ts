/** Receipts: a leaf record, its C2SP `.tlog-proof` and the policy chain. Verifiable for ever, by anyone, offline. */
import { bytes, constant, record, text, type TypeOf } from '@cipherlog/core'
import { formatVersion } from './common.ts'
import { leafRecordBytesMax } from './leaf-record.ts'

export const receipt = record('receipt', {
  version: [0, constant(formatVersion)],
  leafRecord: [1, bytes(1, leafRecordBytesMax)],
  tlogProof: [2, text(131_072)],
  policyChain: [3, bytes(1, 4_194_304)],
})
export type Receipt = TypeOf<typeof receipt>
