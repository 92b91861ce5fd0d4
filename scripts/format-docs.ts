/** Writes docs/formats from the codecs, their doc comments and the golden vectors: `node scripts/format-docs.ts`. */
import { writeFileSync } from 'node:fs'
import { encode, toHex } from '@cipherlog/core'
import {
  catalog,
  formatFiles,
  formatSource,
  isCompound,
  type CatalogEntry,
} from '../test/conformance/formats/catalog.ts'
import { goldenFile, type GoldenVector } from '../test/conformance/formats/golden.ts'
import { samples, type Sample } from '../test/conformance/formats/samples.ts'
import { cddlOf, kebab, ruleNameOf } from './format-docs/cddl.ts'
import { diagnosticOf } from './format-docs/diagnostic.ts'
import { docCommentsOf, type DocComments } from './format-docs/doc-comments.ts'
import { indexPage, type IndexEntry } from './format-docs/index-page.ts'
import { encodedBytesMax } from './format-docs/size.ts'

/** Pages written by hand, because their files hold fixed layouts beside codecs or none at all. */
const handWritten: readonly (IndexEntry & { readonly files: readonly string[] })[] = [
  {
    page: 'wal',
    files: ['wal-record', 'hard-state'],
    summary: "The write-ahead log: segments, records and Raft's HardState.",
  },
  { page: 'peer-frame', files: ['peer-frame'], summary: 'Frames between replicas.' },
]
/** Names of pages that this script leaves alone. */
export const handWrittenPages: readonly string[] = handWritten.map(({ page }) => page)
const handWrittenFiles = new Set(handWritten.flatMap(({ files }) => files))

/** Where generated pages stand. */
export const pagesFolder = new URL('../docs/formats/', import.meta.url)

const comments = new Map(formatFiles.map((file) => [file, docCommentsOf(file, formatSource(file))]))
const vectors = new Map(goldenFile().vectors.map((vector) => [vector.name, vector]))

const number = new Intl.NumberFormat('en-GB')
const wrapped = (hex: string) => hex.replaceAll(/(.{96})(?=.)/g, '$1\n')
const firstSentence = (text: string) => /^.*?\.(?=\s|$)/s.exec(text)![0].replaceAll(/\s+/g, ' ')

function samplesOf({ id }: CatalogEntry): Sample[] {
  return samples.filter((sample) => sample.id === id || sample.id.startsWith(`${id}/`))
}

function sizesSection(entries: readonly CatalogEntry[]): string {
  const rows = entries.map(({ codec }) => `| \`${ruleNameOf(codec)}\` | ${number.format(encodedBytesMax(codec))} |`)
  return ['| rule | longest encoding, bytes |', '| --- | --- |', ...rows].join('\n')
}

function remarksSection(entries: readonly CatalogEntry[], { constants }: DocComments): string {
  const remarks = entries.flatMap(({ exportName, codec }) => {
    const comment = constants.get(exportName)
    return comment === undefined ? [] : [`- \`${ruleNameOf(codec)}\`: ${comment.replaceAll('\n', ' ')}`]
  })
  return remarks.length === 0 ? '' : `${remarks.join('\n')}\n\n`
}

function exampleSection({ id, codec, value }: Sample): string {
  const bytes = encode(codec, value)
  const hex = toHex(bytes)
  const encoded = bytes.length <= 480 ? `\n\`\`\`\n${wrapped(hex)}\n\`\`\`\n` : ''
  const title = id.split('/').slice(1).map(kebab).join(', ')
  return `### ${title}\n\n${number.format(bytes.length)} bytes; vector \`${id}\`.\n\n\`\`\`cbor-diag\n${diagnosticOf(codec, bytes)}\n\`\`\`\n${encoded}`
}

function refusalSection({ name, invalid }: GoldenVector): string {
  const rows = invalid.map((one) => {
    const insert = one.insert.length <= 24 ? one.insert : `${one.insert.slice(0, 16)}… (${one.insert.length / 2} bytes)`
    return `| ${one.name} | ${one.at} | ${one.remove} | ${insert === '' ? '' : `\`${insert}\``} | \`${one.error}\` |`
  })
  return `Mutations of vector \`${name}\`: \`remove\` bytes from \`at\` on replaced by \`insert\`.

| mutation | at | remove | insert | refused with |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`
}

/** The mutations of one vector say it all: that of the format the page is named after, else of the first one. */
function mainSample(file: string, entries: readonly CatalogEntry[]): Sample {
  const main = entries.find(({ codec }) => ruleNameOf(codec) === file) ?? entries[0]!
  return samplesOf(main)[0]!
}

function formatPage(file: string, exported: readonly CatalogEntry[]): string {
  const ownComments = comments.get(file)!
  const compound = exported.filter(({ codec }) => isCompound(codec))
  const shown = file === 'common' ? exported : exported.filter((entry) => isNamedRule(entry))
  return `# ${file}

${ownComments.introduction}

Generated from \`packages/format/src/${file}.ts\` by \`scripts/format-docs.ts\`; encoding rules, labels and error codes
are in the [index](README.md).

## CDDL

${remarksSection(shown, ownComments)}\`\`\`cddl
${cddlOf(
  shown.map(({ codec }) => codec),
  [ownComments, ...comments.values()],
)}
\`\`\`

## Limits

${sizesSection(shown)}

## Examples

${compound.flatMap(samplesOf).map(exampleSection).join('\n')}
## What a decoder refuses

${refusalSection(vectors.get(mainSample(file, compound).id)!)}`
}

function isNamedRule({ codec }: CatalogEntry): boolean {
  return isCompound(codec) || (codec.shape.kind === 'text' && codec.shape.pattern !== undefined)
}

/** Generated pages by file name. */
export function formatPages(): ReadonlyMap<string, string> {
  const pages = new Map<string, string>()
  const index: IndexEntry[] = [...handWritten]
  for (const file of formatFiles) {
    const exported = catalog.filter((entry) => entry.file === file)
    if (exported.length === 0 || handWrittenFiles.has(file)) continue
    pages.set(`${file}.md`, formatPage(file, exported))
    index.push({ page: file, summary: firstSentence(comments.get(file)!.introduction) })
  }
  index.sort((a, b) => (a.page < b.page ? -1 : 1))
  pages.set('README.md', indexPage(index))
  return pages
}

if (import.meta.main) {
  for (const [name, page] of formatPages()) writeFileSync(new URL(name, pagesFolder), page)
}
