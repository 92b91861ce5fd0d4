/** Trust policies in files. */
import { type TrustPolicy } from '@cipherlog/format'
import { decodeTrustPolicy } from '@cipherlog/registry'
import { readDecoded } from '../files.ts'

/** @throws CipherlogError `ERR_FILE`; PolicyError `ERR_POLICY_WITNESSES` */
export function readTrustPolicy(file: string): Promise<TrustPolicy> {
  return readDecoded(file, 'a trust policy', decodeTrustPolicy)
}
