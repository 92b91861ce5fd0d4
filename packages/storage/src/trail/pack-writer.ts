/** Writes a pack that came from elsewhere, leaf by leaf, beside its place, and puts it there once it is durable. */
import { concatBytes } from '@cipherlog/core'
import { PackTable, packTableBytes } from './pack.ts'
import { type TrailFiles } from './trail-files.ts'

/** Bytes that are gathered before they are written. */
const writeBytes = 1024 * 1024

export class PackWriter {
  readonly #files: TrailFiles
  readonly #path: string
  readonly #table = new PackTable()
  #parts: Uint8Array[] = []
  #waiting = 0
  #slot = 0
  #written = packTableBytes

  private constructor(files: TrailFiles, path: string) {
    this.#files = files
    this.#path = path
  }

  static async begin(files: TrailFiles, path: string): Promise<PackWriter> {
    const writer = new PackWriter(files, path)
    await files.write(writer.#temporary, new Uint8Array(packTableBytes))
    await files.truncate(writer.#temporary, packTableBytes)
    return writer
  }

  get #temporary(): string {
    return `${this.#path}.tmp`
  }

  /** The part of the next leaf. */
  async append(part: Uint8Array): Promise<void> {
    this.#table.append(this.#slot++, part.length)
    this.#parts.push(part.slice())
    this.#waiting += part.length
    if (this.#waiting >= writeBytes) await this.#write()
  }

  async #write(): Promise<void> {
    await this.#files.write(this.#temporary, concatBytes(...this.#parts), this.#written)
    this.#written += this.#waiting
    this.#parts = []
    this.#waiting = 0
  }

  async finish(): Promise<void> {
    if (this.#waiting > 0) await this.#write()
    await this.#files.write(this.#temporary, this.#table.bytes)
    await this.#files.sync()
    await this.#files.rename(this.#temporary, this.#path)
  }
}
