/** Replicas' keys that belong to a number: the same in every run. */
import { concatBytes, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { type CosignerMember } from '@cipherlog/format'

export function replicaKeysOf(replica: number): { readonly member: CosignerMember; readonly answer: Uint8Array } {
  const seed = (use: string) => sha256(utf8(`${replica} ${use}`))
  return {
    answer: seed('answer'),
    member: {
      peerId: concatBytes(seed('id').slice(0, 12), new Uint8Array(4)),
      tlsKey: publicKeyOf(seed('tls')),
      logKey: publicKeyOf(seed('log')),
      cosignerKey: publicKeyOf(seed('cosigner')),
      answerKey: publicKeyOf(seed('answer')),
    },
  }
}
