/** Looks for planted plaintext in everything that replicas send, receive and keep. */
import { invariant } from '@cipherlog/core'
import { createSearch, type Canary } from '../canaries.ts'

export class WireCheck {
  bytes = 0
  readonly #search: ReturnType<typeof createSearch>

  constructor(canaries: readonly Canary[]) {
    this.#search = createSearch(canaries)
  }

  see(bytes: Uint8Array, where: string): void {
    this.bytes += bytes.length
    const [sighting] = this.#search(bytes, where)
    invariant(sighting === undefined, 'Planted plaintext where only ciphertext may be.', { ...sighting })
  }
}
