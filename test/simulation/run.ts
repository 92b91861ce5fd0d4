/**
 * The whole-system simulator from the command line: `npm run test:sim -- [--seeds N] [--seed S] [--first F] [--json]
 * [--minutes M]`.
 *
 * Without `--seed` it runs seeds F, F + 1, … (F is 1 unless given) and fails if one fails or, from
 * `kindsExpectedFrom` seeds on, if some kind of fault or work never happened. `--seed S` replays one seed and prints
 * its trace. One seed runs at a time: globals are virtual while it does.
 */
import { parseArgs } from 'node:util'
import { runSimulation, type SimulationResult } from '@cipherlog/testkit/simulation'
import { missingKinds } from './kinds.ts'
import { type RunReport } from './report.ts'

/** Fewer seeds may by chance lack a kind. */
const kindsExpectedFrom = 100

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    json: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '600' },
  },
})
const count = wholeNumber('seeds', values.seeds)
const first = wholeNumber('first', values.first)
const minutes = wholeNumber('minutes', values.minutes)

if (values.seed !== undefined) {
  const result = await runSimulation(wholeNumber('seed', values.seed))
  if (values.json) console.log(JSON.stringify(result))
  else show(result)
  process.exitCode = result.failure === undefined ? 0 : 1
} else {
  const report = await runSeeds()
  if (values.json) console.log(JSON.stringify(report))
  else summarize(report)
  process.exitCode = report.failures.length === 0 && report.missing.length === 0 ? 0 : 1
}

async function runSeeds(): Promise<RunReport> {
  const began = performance.now()
  const counts: Record<string, number> = {}
  const failures: RunReport['failures'][number][] = []
  const digests: string[] = []
  let seed = first
  for (; seed < first + count && performance.now() - began < minutes * 60_000; seed++) {
    const result = await runSimulation(seed)
    for (const [what, times] of Object.entries(result.counts)) counts[what] = (counts[what] ?? 0) + times
    digests.push(result.digest)
    if (result.failure === undefined) continue
    failures.push({ seed, ...result.failure })
    if (!values.json) show(result)
  }
  const seeds = seed - first
  const missing = seeds < kindsExpectedFrom || failures.length > 0 ? [] : missingKinds(counts)
  return { firstSeed: first, seeds, counts, failures, missing, digests, seconds: (performance.now() - began) / 1000 }
}

function show({ seed, replicas, virtualMs, events, digest, counts, failure }: SimulationResult): void {
  console.log(`seed ${seed}: ${replicas} replicas, ${virtualMs} ms of virtual time, ${events} events, ${digest}`)
  console.log(`  ${listOf(counts)}`)
  if (failure === undefined) return
  for (const line of failure.trace) console.log(`  ${line}`)
  console.log(`seed ${seed} FAILED: ${failure.message}\n  replay: npm run test:sim -- --seed ${seed}`)
}

function summarize({ firstSeed, seeds, counts, failures, missing, seconds }: RunReport): void {
  console.log(listOf(counts))
  if (missing.length > 0) console.log(`never happened: ${missing.join(', ')}`)
  const failed = failures.length === 0 ? 'no failures' : `failed: ${failures.map(({ seed }) => seed).join(', ')}`
  console.log(`seeds ${firstSeed} to ${firstSeed + seeds - 1} in ${seconds.toFixed(1)} s: ${failed}`)
}

function listOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, times]) => `${what} ${times}`)
    .join(', ')
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0 && text !== '') return value
  console.error(`--${name} takes a whole number`)
  process.exit(2)
}
