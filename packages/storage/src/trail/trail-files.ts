/** Files of a trail: directories made as needed, and what has been written but not synced. */
import { type Disk, parentOf, replaceFile } from '../disk/disk.ts'

export class TrailFiles {
  readonly #disk: Disk
  readonly #directories = new Set([''])
  /** Files and directories with changes that a power loss may take. */
  #files = new Set<string>()
  #names = new Set<string>()

  constructor(disk: Disk) {
    this.#disk = disk
  }

  /** Writes at `position` of a file that is created if it is missing. */
  async write(path: string, bytes: Uint8Array, position = 0): Promise<void> {
    await this.#makeDirectory(parentOf(path))
    const file = await this.#disk.open(path)
    try {
      await file.write(bytes, position)
    } finally {
      await file.close()
    }
    this.#files.add(path)
    this.#names.add(parentOf(path))
  }

  /** Gives a file new bytes so that a crash leaves the old ones or the new ones, whole. */
  async replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.#makeDirectory(parentOf(path))
    await replaceFile(this.#disk, path, bytes)
  }

  /** Puts a synced file in the place of another, in the same directory. */
  async rename(from: string, to: string): Promise<void> {
    await this.#disk.rename(from, to)
    this.#names.add(parentOf(to))
  }

  async truncate(path: string, size: number): Promise<void> {
    const file = await this.#disk.open(path)
    try {
      await file.truncate(size)
    } finally {
      await file.close()
    }
    this.#files.add(path)
  }

  async remove(path: string): Promise<void> {
    await this.#disk.remove(path)
    this.#files.delete(path)
    this.#names.add(parentOf(path))
  }

  /** Removes a directory that is empty now. */
  async removeDirectory(path: string): Promise<void> {
    await this.#disk.removeDirectory(path)
    this.#directories.delete(path)
    this.#names.delete(path)
    this.#names.add(parentOf(path))
  }

  /** Makes durable what was written before the call. One file at a time: the log's syncs must find a free thread. */
  async sync(): Promise<void> {
    const [files, names] = [this.#files, this.#names]
    this.#files = new Set()
    this.#names = new Set()
    for (const path of files) {
      const file = await this.#disk.open(path)
      try {
        await file.datasync()
      } finally {
        await file.close()
      }
    }
    for (const path of names) await this.#disk.syncDirectory(path)
  }

  async #makeDirectory(path: string): Promise<void> {
    if (this.#directories.has(path)) return
    await this.#makeDirectory(parentOf(path))
    await this.#disk.makeDirectory(path)
    this.#directories.add(path)
    this.#names.add(parentOf(path))
  }
}
