/** Tables of a bench: medians over the rounds with their spread, as Markdown and as JSON. */
import { type Machine } from './machine.ts'
import { percentile } from './bench.ts'

/** One quantity: its value in each round, in rounds' order; a single value if it is the same every time. */
export interface Measured {
  readonly values: readonly number[]
  /** Printed behind the number, such as `×`. */
  readonly suffix?: string
}

/** Undefined: there is nothing to measure. */
export type Cell = Measured | string | undefined

export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
  /** What a reader must know to take the figures rightly. */
  readonly notes: readonly string[]
}

export interface Report {
  readonly bench: string
  readonly rounds: number
  readonly quick: boolean
  readonly seconds: number
  readonly machine: Machine
  readonly tables: readonly Table[]
}

export function measured(values: readonly number[]): Measured {
  return { values }
}

/** Ratios of two quantities, round by round: what both shared in a round cancels out. */
export function ratio(a: Measured, b: Measured): Measured {
  if (a.values.length !== b.values.length) throw new RangeError('a ratio needs the same rounds of both sides')
  return { values: a.values.map((value, round) => value / b.values[round]!), suffix: '×' }
}

export function median({ values }: Measured): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (percentile(sorted, 0.5) + sorted[Math.floor((sorted.length - 1) / 2)]!) / 2
}

export function toMarkdown({ bench, rounds, quick, seconds, machine, tables }: Report): string {
  const { processor, cores, memoryGb, system, node, filesystem, fdatasyncMs, load, loadAfter, revision } = machine
  const head = [
    `Bench \`${bench}\`, medians of ${rounds} round${rounds === 1 ? '' : 's'} (lowest–highest), ${seconds.toFixed(0)} s.`,
    ...(quick ? ['**A quick run: these figures mean nothing.**'] : []),
    `Machine: ${processor}, ${cores} cores, ${memoryGb.toFixed(0)} GB; ${system}; ${filesystem}, fdatasync of 4 KiB ` +
      `${short(fdatasyncMs)} ms; Node ${node}; revision ${revision}; load average ${load.toFixed(1)} before, ` +
      `${loadAfter.toFixed(1)} after.`,
    ...(load > cores / 2 ? ['**The machine was busy with other things: read the ratios, not the figures.**'] : []),
  ]
  return `${[head.join('\n'), ...tables.map(tableToMarkdown)].join('\n\n')}\n`
}

function tableToMarkdown({ title, columns, rows, notes }: Table): string {
  const cells = [columns, columns.map((_, i) => (i === 0 ? '---' : '---:')), ...rows.map((row) => row.map(cellText))]
  const lines = cells.map((row) => `| ${row.join(' | ')} |`)
  return [`### ${title}`, lines.join('\n'), ...notes].join('\n\n')
}

function cellText(cell: Cell): string {
  if (cell === undefined) return '–'
  if (typeof cell === 'string') return cell
  const { values, suffix = '' } = cell
  const [middle, low, high] = [short(median(cell)), short(Math.min(...values)), short(Math.max(...values))]
  return low === high ? `${middle}${suffix}` : `${middle}${suffix} (${low}–${high})`
}

/** Three digits that count. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en-US')
  const digits = size === 0 ? 0 : Math.min(5, 2 - Math.floor(Math.log10(size)))
  return value.toFixed(Number.isInteger(value) ? 0 : digits)
}

/** The same as a JSON document; quantities with median, extremes and every round. */
export function toJson(report: Report): string {
  const tables = report.tables.map((table) => ({ ...table, rows: table.rows.map((row) => row.map(cellJson)) }))
  return `${JSON.stringify({ ...report, tables }, undefined, 2)}\n`
}

function cellJson(cell: Cell): unknown {
  if (cell === undefined) return null
  if (typeof cell === 'string') return cell
  const { values } = cell
  return { median: median(cell), lowest: Math.min(...values), highest: Math.max(...values), values }
}
