/** Quotas of grants: proofs and bytes per client and minute of log time. Attempts count, so a flood of bad proofs ends. */
import { decode, encode } from '@cipherlog/core'
import { storedQuota, type CommandHead, type Grant } from '@cipherlog/format'
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
    const stored = decode(storedQuota, bytes)
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
