/**
 * Quotas of grants: proofs and bytes per minute of log time. What a client uses is counted once, over all its grants,
 * and compared with the quota of the grant that a command needs: grants have no ids, and order would matter.
 *
 * Attempts count: also commands that a gate, a proof, an envelope or a failed atomic bundle rejects afterwards. They
 * have cost their work, and a count that a failure undoes would be no limit.
 */
import { encode } from '@cipherlog/core'
import { storedQuota, type CommandHead, type Grant } from '@cipherlog/format'
import { decodeStored } from './state.ts'
import { stateKeys } from './state-keys.ts'

interface QuotaState {
  get(key: Uint8Array): Uint8Array | undefined
}

const minuteMs = 60_000

/** The running use of one client within one bundle. */
export class QuotaUse {
  readonly #client: Uint8Array
  readonly #minute: number
  #proofs = 0
  #bytes = 0

  constructor(state: QuotaState, client: Uint8Array, logTime: number) {
    this.#client = client
    this.#minute = Math.floor(logTime / minuteMs)
    const bytes = state.get(stateKeys.quota(client))
    if (bytes === undefined) return
    const stored = decodeStored(storedQuota, bytes)
    if (stored.minute === this.#minute) {
      this.#proofs = stored.proofs
      this.#bytes = stored.bytes
    }
  }

  /** Counts a command against its grant; false, uncounted, if it would exceed it. */
  take(grant: Grant, head: CommandHead): boolean {
    const proofs = this.#proofs + (head.proof === undefined ? 0 : 1)
    const bytes = this.#bytes + (head.ciphertext?.bytes ?? 0) + (head.proof?.bytes ?? 0) + (head.wraps?.bytes ?? 0)
    if (grant.proofsPerMinute !== undefined && head.proof !== undefined && proofs > grant.proofsPerMinute) return false
    if (grant.bytesPerMinute !== undefined && bytes > grant.bytesPerMinute) return false
    this.#proofs = proofs
    this.#bytes = bytes
    return true
  }

  save(state: { put(key: Uint8Array, value: Uint8Array): void }): void {
    state.put(
      stateKeys.quota(this.#client),
      encode(storedQuota, { client: this.#client, minute: this.#minute, proofs: this.#proofs, bytes: this.#bytes }),
    )
  }
}
