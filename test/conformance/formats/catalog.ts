/**
 * Every codec that packages/format exports, found by importing its files, so that a new format cannot escape
 * the tests, the golden vectors and the pages. Files that hold no codecs (fixed layouts, numbers) are simply empty.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { type Codec } from '@cipherlog/core'

const formatFolder = new URL('../../../packages/format/src/', import.meta.url)

/** An exported codec: `id` is `<file>/<export>`, such as `genesis/signedGenesis`. */
export interface CatalogEntry {
  readonly id: string
  readonly file: string
  readonly exportName: string
  readonly codec: Codec<unknown>
}

function isCodec(value: unknown): value is Codec<unknown> {
  if (typeof value !== 'object' || value === null) return false
  const candidate = value as Partial<Codec<unknown>>
  return (
    typeof candidate.read === 'function' && typeof candidate.write === 'function' && candidate.shape?.kind !== undefined
  )
}

/** Names of the source files of packages/format without `.ts`, in alphabetical order. */
export const formatFiles: readonly string[] = readdirSync(formatFolder)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'index.ts')
  .map((name) => name.slice(0, -'.ts'.length))
  .sort()

/** The text of a source file of packages/format. */
export function formatSource(file: string): string {
  return readFileSync(new URL(`${file}.ts`, formatFolder), 'utf8')
}

const entries: CatalogEntry[] = []
for (const file of formatFiles) {
  const exported = (await import(new URL(`${file}.ts`, formatFolder).href)) as Record<string, unknown>
  const source = formatSource(file)
  const declared = (name: string) => source.search(new RegExp(`\\bexport const ${name}\\b`))
  for (const [exportName, value] of Object.entries(exported).sort((a, b) => declared(a[0]) - declared(b[0]))) {
    if (isCodec(value)) entries.push({ id: `${file}/${exportName}`, file, exportName, codec: value })
  }
}

/** All exported codecs, by file, then in the order in which the file declares them. */
export const catalog: readonly CatalogEntry[] = entries

const byCodec = new Map(catalog.map((entry) => [entry.codec, entry]))

/** The entry of an exported codec; undefined for one that is only a part of others. */
export function entryOf(codec: Codec<unknown>): CatalogEntry | undefined {
  return byCodec.get(codec)
}

/** Records, choices, arrays and tuples have a layout of their own; a bare integer or string has not. */
export function isCompound(codec: Codec<unknown>): boolean {
  return ['record', 'choice', 'array', 'tuple'].includes(codec.shape.kind)
}
