/**
 * What the last long run found, in `last-result.json` (committed) and as a table in docs/TESTING.md: dates, versions,
 * seeds, counts, failures. Says nothing of the machine but its processor.
 */
import { createHash } from 'node:crypto'
import { globSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type Part, root } from './parts.ts'

export interface PartResult {
  readonly about: string
  /** SHA-256 over the tested sources, shortened: what the numbers are about. */
  readonly sources: string
  readonly firstSeed: number
  /** The seed after the last one; a new run begins here, so that every run sees new seeds. */
  nextSeed: number
  /** Steps that make it complete. */
  readonly steps: number
  counts: Record<string, number>
  failures: { seed: number | undefined; says: string; replay: string | undefined }[]
  seconds: number
  /** Day (UTC) of the last step. */
  date: string
  readonly versions: Readonly<Record<string, string>>
  readonly cpu: string
}

export type Results = Record<string, PartResult>

const resultFile = join(import.meta.dirname, 'last-result.json')
const pageFile = join(root, 'docs/TESTING.md')
const begin = '<!-- test:long writes from here -->'
const end = '<!-- to here -->'

export function readResults(): Results {
  return JSON.parse(readFileSync(resultFile, 'utf8')) as Results
}

/** Replaces the file at once, so that a run that is killed leaves the last whole one. */
export function writeResults(results: Results): void {
  replace(resultFile, `${JSON.stringify(results, undefined, 2)}\n`)
}

/** Writes the table into docs/TESTING.md. */
export function showResults(results: Results): void {
  const page = readFileSync(pageFile, 'utf8')
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`docs/TESTING.md lacks "${begin}" or "${end}"`)
  replace(pageFile, `${before}${begin}\n${tableOf(results)}${end}${after}`)
}

/** The result of a part that has not begun. */
export function emptyResult(part: Part, firstSeed: number): PartResult {
  return {
    about: part.about,
    sources: digestOf(part),
    firstSeed,
    nextSeed: firstSeed,
    steps: part.steps,
    counts: {},
    failures: [],
    seconds: 0,
    date: '',
    versions: versions(),
    cpu: cpus()[0]?.model ?? 'unknown',
  }
}

export function stepsDone({ firstSeed, nextSeed }: PartResult): number {
  return nextSeed - firstSeed
}

/** A digest over the sources that `part` tests. */
export function digestOf(part: Part): string {
  const hash = createHash('sha256')
  for (const path of globSync([...part.sources], { cwd: root }).toSorted()) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0')
  }
  return hash.digest('hex').slice(0, 16)
}

function versions(): Record<string, string> {
  const require = createRequire(import.meta.url)
  const versionOf = (name: string): string => (require(`${name}/package.json`) as { version: string }).version
  return { node: process.versions.node, vitest: versionOf('vitest'), 'fast-check': versionOf('fast-check') }
}

function tableOf(results: Results): string {
  const number = new Intl.NumberFormat('en-US')
  const rows = Object.entries(results).map(([name, result]) => {
    const { firstSeed, nextSeed, steps, failures, seconds, date, versions, cpu } = result
    const counts = Object.entries(result.counts).map(([what, count]) => `${what} ${number.format(count)}`)
    const seeds = `${firstSeed} to ${nextSeed - 1}: ${stepsDone(result)} of ${steps}`
    const failed =
      failures.length === 0 ? 'none' : failures.map(({ seed, says }) => `${seed ?? '–'}: ${says}`).join('; ')
    const on = `${date}, Node ${versions['node']}, ${cpu}`
    return `| ${name} | ${seeds} | ${counts.join(', ')} | ${failed} | ${Math.round(seconds)} | ${on} |\n`
  })
  return `\n| part | seeds | counted | failures | seconds | when, on what |\n| --- | --- | --- | --- | --- | --- |\n${rows.join('')}\n`
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}
