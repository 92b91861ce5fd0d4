/**
 * Usage events from a CSV file: `time,account,operation,units,amount_cents,latency_ms`. The file is somebody's own,
 * so every line is checked, and errors name line and column.
 */
import { readFile } from 'node:fs/promises'
import { StepFailed } from './show.ts'

export interface UsageEvent {
  readonly time: string
  readonly account: string
  readonly operation: string
  readonly units: number
  readonly amountCents: number
  readonly latencyMs: number
}

const columns = ['time', 'account', 'operation', 'units', 'amount_cents', 'latency_ms'] as const
const linesMax = 100_000

/** Upper bounds of the latency histogram's buckets in ms; the last bucket takes the rest. */
export const latencyBoundsMs = [10, 25, 50, 100, 250, 500, 1000] as const
export const latencyBuckets = latencyBoundsMs.length + 1

/** @throws StepFailed naming line and column */
export async function readUsageEvents(file: string): Promise<UsageEvent[]> {
  const lines = (await readFile(file, 'utf8')).split(/\r?\n/).filter((line) => line !== '')
  if (lines[0] !== columns.join(',')) throw new StepFailed(`${file}:1: the first line must be ${columns.join(',')}`)
  if (lines.length < 2) throw new StepFailed(`${file} holds no events`)
  if (lines.length - 1 > linesMax) throw new StepFailed(`${file} holds more than ${linesMax} events`)
  return lines.slice(1).map((line, i) => parseLine(line, `${file}:${i + 2}`))
}

function parseLine(line: string, where: string): UsageEvent {
  const fields = line.split(',')
  if (fields.length !== columns.length)
    throw new StepFailed(`${where}: ${fields.length} columns, expected ${columns.length}`)
  const [time, account, operation, units, amount, latency] = fields as [string, string, string, string, string, string]
  if (Number.isNaN(Date.parse(time))) throw new StepFailed(`${where}: ${JSON.stringify(time)} is no time`)
  if (account === '') throw new StepFailed(`${where}: the account is empty`)
  return {
    time,
    account,
    operation,
    units: count(units, `${where}: units`),
    amountCents: count(amount, `${where}: amount_cents`),
    latencyMs: count(latency, `${where}: latency_ms`),
  }
}

function count(text: string, where: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new StepFailed(`${where}: ${JSON.stringify(text)} is no whole number below 1,000,000,000`)
  return Number(text)
}

/** `2026-11-02T08:07:11Z` → `2026-11-02T08`. */
export const hourOf = (event: UsageEvent): string => new Date(event.time).toISOString().slice(0, 13)

/** One amount for each account and hour: what is proven is a sum, so a proof's cost is shared by many events. */
export function sumByAccountAndHour(
  events: readonly UsageEvent[],
): { readonly account: string; readonly hour: string; readonly cents: bigint }[] {
  const sums = new Map<string, { account: string; hour: string; cents: bigint }>()
  for (const event of events) {
    const hour = hourOf(event)
    const name = `${hour} ${event.account}`
    const sum = sums.get(name) ?? { account: event.account, hour, cents: 0n }
    sum.cents += BigInt(event.amountCents)
    sums.set(name, sum)
  }
  return [...sums.values()]
}

/** Latency histograms by hour. */
export function latencyByHour(events: readonly UsageEvent[]): Map<string, number[]> {
  const histograms = new Map<string, number[]>()
  for (const event of events) {
    const histogram = histograms.get(hourOf(event)) ?? new Array<number>(latencyBuckets).fill(0)
    const bucket = latencyBoundsMs.findIndex((bound) => event.latencyMs <= bound)
    histogram[bucket === -1 ? latencyBuckets - 1 : bucket]! += 1
    histograms.set(hourOf(event), histogram)
  }
  return histograms
}
