/**
 * A listed trail: which files there are, of which tile, how large; and reading them within bounds. What cannot be
 * read becomes a problem here, once, and counts as absent.
 */
import { CipherlogError, DecodeError } from '@cipherlog/core'
import { parseTilePath, type TilePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { type Remarks } from './report.ts'
import { sourceError, type TrailSource } from './trail-source.ts'

const topFiles: ReadonlySet<string> = new Set(['checkpoint', 'policy-chain', 'checkpoint.witnessed'])

export class TrailReader {
  readonly remarks: Remarks
  readonly #source: TrailSource
  readonly #bytes = new Map<string, number>()
  /** Files of tiles and packs by the path of the full one. */
  readonly #tiles = new Map<string, { readonly tile: TilePath; readonly widths: number[] }>()

  private constructor(source: TrailSource, remarks: Remarks) {
    this.#source = source
    this.remarks = remarks
  }

  /** Lists a trail; files that do not belong become findings. @throws {@link CipherlogError} `ERR_AUDIT_SOURCE`. */
  static async open(source: TrailSource, remarks: Remarks): Promise<TrailReader> {
    const reader = new TrailReader(source, remarks)
    for (const { path, bytes } of await source.list()) reader.#note(path, bytes)
    for (const { widths } of reader.#tiles.values()) widths.sort((a, b) => a - b)
    return reader
  }

  #note(path: string, bytes: number | undefined): void {
    const tile = topFiles.has(path) ? undefined : tileOf(path)
    if (bytes === undefined) {
      this.remarks.finding('unknown file', path, 'It is no plain file that can be read, and was not looked at.')
    } else if (tile === undefined && !topFiles.has(path)) {
      this.remarks.finding('unknown file', path, 'The file does not belong to a trail and was not looked at.')
    } else if (!this.#bytes.has(path)) {
      this.#bytes.set(path, bytes)
      if (tile !== undefined) this.#noteTile(path, tile)
    }
  }

  #noteTile(path: string, tile: TilePath): void {
    const full = path.replace(/\.p\/\d+$/, '')
    const known = this.#tiles.get(full) ?? { tile, widths: [] }
    known.widths.push('width' in tile ? tile.width : tileWidthMax)
    this.#tiles.set(full, known)
  }

  /** Tiles and packs of which there is a file, with the path of the full one. */
  tiles(): Iterable<[string, { readonly tile: TilePath; readonly widths: readonly number[] }]> {
    return this.#tiles
  }

  /** Widths of the files that hold this tile or a prefix of it, narrowest first. */
  widthsOf(fullPath: string): readonly number[] {
    return this.#tiles.get(fullPath)?.widths ?? []
  }

  /** Size of a listed file. */
  bytesOf(path: string): number | undefined {
    return this.#bytes.get(path)
  }

  /** A whole listed file of at most `bytesMax` bytes. Undefined, with a problem, if it is larger or cannot be read. */
  async whole(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
    const bytes = this.#bytes.get(path)!
    if (bytes > bytesMax) {
      this.remarks.problem('ERR_AUDIT_LIMIT', path, `The file has ${bytes} bytes, at most ${bytesMax} make sense.`)
      return undefined
    }
    return this.range(path, 0, bytes)
  }

  /** Part of a listed file. Undefined, with a problem, if it cannot be read. */
  async range(path: string, start: number, length: number): Promise<Uint8Array | undefined> {
    try {
      const bytes = await this.#source.read(path, start, length)
      if (bytes.length !== length) throw sourceError(path, 'changed while it was read')
      return bytes
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      this.remarks.problem(error.code, path, error.message)
      return undefined
    }
  }
}

function tileOf(path: string): TilePath | undefined {
  try {
    return parseTilePath(path)
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}
