/** A signed head in memory: what was written survives as long as the object does. */
import { type SignedHead } from './publisher.ts'

export class MemorySignedHead implements SignedHead {
  #head: { size: number; rootHash: Uint8Array } | undefined
  /** Awaited by every write before it takes effect. */
  before: (size: number) => Promise<void> = () => Promise.resolve()
  /** Awaited once it has: what it throws makes the write fail, though it is there. */
  after: () => Promise<void> = () => Promise.resolve()

  read(): { readonly size: number; readonly rootHash: Uint8Array } | undefined {
    return this.#head
  }

  async write(size: number, rootHash: Uint8Array): Promise<void> {
    await this.before(size)
    this.#head = { size, rootHash: rootHash.slice() }
    await this.after()
  }
}
