/**
 * Repeats the experiment of Raft (extended paper) fig. 16 with the real core on virtual time, and writes the plot and
 * its table: `npm run election-times` (`-- --check` compares what is committed with a fresh run).
 */
import { type ElectionTimeouts, timeWithoutLeader } from '@cipherlog/testkit'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Line, plot } from './election-times/plot.ts'

const root = join(import.meta.dirname, '..')
const figureFile = join(root, 'docs/figures/election-times.svg')
const pageFile = join(root, 'docs/TESTING.md')
const begin = '<!-- election-times writes from here -->'
const end = '<!-- election-times to here -->'
const limitMs = 100_000

interface Series extends ElectionTimeouts {
  /** 1,000 as in the paper; fewer where every trial takes long. */
  readonly trials: number
}

const randomness: readonly Series[] = [
  { minMs: 150, maxMs: 150, trials: 100 },
  { minMs: 150, maxMs: 151, trials: 1000 },
  { minMs: 150, maxMs: 155, trials: 1000 },
  { minMs: 150, maxMs: 175, trials: 1000 },
  { minMs: 150, maxMs: 200, trials: 1000 },
  { minMs: 150, maxMs: 299, trials: 1000 },
]
const shortest: readonly Series[] = [
  { minMs: 12, maxMs: 23, trials: 1000 },
  { minMs: 25, maxMs: 49, trials: 1000 },
  { minMs: 50, maxMs: 99, trials: 1000 },
  { minMs: 100, maxMs: 199, trials: 1000 },
  { minMs: 150, maxMs: 299, trials: 1000 },
]
const withAdditions = (series: readonly Series[]): Series[] => series.map((each) => ({ ...each, additions: true }))

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
const panels = [
  { title: 'How much randomness', lines: randomness.map(measure) },
  { title: 'How short a timeout', lines: shortest.map(measure) },
  { title: 'How much randomness, with pre-vote and check-quorum', lines: withAdditions(randomness).map(measure) },
  { title: 'How short a timeout, with pre-vote and check-quorum', lines: withAdditions(shortest).map(measure) },
]
write(figureFile, plot(panels, { title: 'time without a leader, ms', from: 10, to: 100_000 }))
const page = readFileSync(pageFile, 'utf8')
const [before, rest] = page.split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined) throw new Error(`docs/TESTING.md lacks "${begin}" or "${end}"`)
write(pageFile, `${before}${begin}\n\n${table()}\n${end}${after}`)

function measure(series: Series): Line {
  const { minMs, maxMs, trials } = series
  const times = Array.from({ length: trials }, (_, seed) => timeWithoutLeader(seed + 1, series, limitMs))
  return { label: `${minMs}–${maxMs} ms`, values: times.sort((a, b) => a - b) }
}

function table(): string {
  const at = ({ values }: Line, share: number): string =>
    Math.round(values[Math.min(values.length - 1, Math.floor(share * values.length))]!).toLocaleString('en-US')
  const row = (plain: Line, added: Line): string =>
    `| ${[plain.label, ...[plain, added].flatMap((line) => [at(line, 0.5), at(line, 0.99), at(line, 1)])].join(' | ')} |\n`
  const rows = [0, 1].flatMap((panel) => panels[panel]!.lines.map((line, i) => row(line, panels[panel + 2]!.lines[i]!)))
  return (
    '| election timeouts | median, ms | 99th percentile | longest | with pre-vote: median | 99th percentile | longest |\n' +
    `| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n${[...new Set(rows)].join('')}`
  )
}

/** Writes `text`, or with `--check` compares it with what is there. */
function write(file: string, text: string): void {
  if (!values.check) return writeFileSync(file, text)
  if (readFileSync(file, 'utf8') === text) return
  console.error(`${file} is not what a fresh run gives: npm run election-times`)
  process.exitCode = 1
}
