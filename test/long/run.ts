/**
 * What takes longer than a pull request may wait: `npm run test:long -- [--minutes N] [--seed N]
 * [--only raft|simulation|formats|power|faults|crashes|flips]`.
 *
 * Each part works through its seeds and stops when it has enough or when time is up; a step that would not end in
 * time is not begun. The next run goes on where this one stopped, as long as what it tests is unchanged; else it begins
 * anew with seeds that no run has seen. `--seed` replays one seed and keeps nothing.
 */
import { parseArgs } from 'node:util'
import { parts, type Part } from './parts.ts'
import {
  digestOf,
  emptyResult,
  type PartResult,
  readResults,
  type Results,
  showResults,
  stepsDone,
  writeResults,
} from './result.ts'

const failuresMax = 10
/** Progress is printed and kept this often. */
const reportEveryMs = 5000

const { values } = parseArgs({
  options: { only: { type: 'string' }, minutes: { type: 'string', default: '60' }, seed: { type: 'string' } },
})
const names = values.only === undefined ? Object.keys(parts) : [values.only]
const minutes = Number(values.minutes)
const replayed = values.seed === undefined ? undefined : Number(values.seed)
if (names.some((name) => !Object.hasOwn(parts, name))) usage(`--only takes one of ${Object.keys(parts).join(', ')}`)
if (!(minutes > 0 && minutes < Infinity)) usage('--minutes takes a number above 0')
if (replayed !== undefined && !(Number.isSafeInteger(replayed) && replayed >= 0)) usage('--seed takes a whole number')
if (replayed !== undefined && values.only === undefined) usage('--seed needs --only: whose seed is it?')

const deadline = performance.now() + minutes * 60_000
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (interrupted = true))

if (replayed === undefined) {
  const results = readResults()
  for (const [at, name] of names.entries()) {
    // What is left is shared by the parts that are left.
    const share = (deadline - performance.now()) / (names.length - at)
    await runPart(name, parts[name]!, results, performance.now() + share)
    showResults(results)
  }
  const failed = names.filter((name) => (results[name]?.failures.length ?? 0) > 0)
  console.log(failed.length === 0 ? 'no failures' : `failures in ${failed.join(', ')}: see test/long/last-result.json`)
  process.exitCode = failed.length === 0 ? 0 : 1
} else {
  const { counts, failure } = await parts[names[0]!]!.step(replayed)
  console.log(failure ?? 'passed', counts)
  process.exitCode = failure === undefined ? 0 : 1
}

/** Goes on with a part, or begins it anew, until it is complete or `until`. */
async function runPart(name: string, part: Part, results: Results, until: number): Promise<void> {
  const last = results[name]
  const goesOn = last !== undefined && stepsDone(last) < part.steps && last.sources === digestOf(part)
  const result = goesOn ? { ...last, steps: part.steps } : emptyResult(part, last?.nextSeed ?? 1)
  results[name] = result
  console.log(`${name}: ${part.about}; ${goesOn ? 'goes on' : 'begins'} at seed ${result.nextSeed}`)

  let reportAt = performance.now() + reportEveryMs
  let longestMs = 0
  while (stepsDone(result) < part.steps && result.failures.length < failuresMax && !interrupted) {
    const began = performance.now()
    if (began + longestMs > until) break
    const seed = result.nextSeed
    const { counts, failure } = await part.step(seed)
    const tookMs = performance.now() - began
    longestMs = Math.max(longestMs, tookMs)
    result.nextSeed++
    result.seconds = Math.round((result.seconds + tookMs / 1000) * 100) / 100
    result.date = new Date().toISOString().slice(0, 10)
    for (const [what, count] of Object.entries(counts)) result.counts[what] = (result.counts[what] ?? 0) + count
    if (failure !== undefined) {
      result.failures.push({ seed, says: failure, replay: part.replay(seed) })
      console.log(`  seed ${seed} FAILED: ${failure}\n  replay: ${part.replay(seed)}`)
    }
    if (performance.now() < reportAt) continue
    // Lets a signal in: steps of simulations never wait for anything.
    await new Promise((resolve) => setImmediate(resolve))
    reportAt = performance.now() + reportEveryMs
    console.log(`  ${progress(result)}`)
    writeResults(results)
  }
  if (stepsDone(result) === part.steps) {
    const missing = (part.mustHappen ?? []).filter((what) => !(result.counts[what]! > 0))
    if (missing.length > 0) {
      result.failures.push({ seed: undefined, says: `never happened: ${missing.join(', ')}`, replay: undefined })
    }
  }
  writeResults(results)
  console.log(`  ${progress(result)}${stepsDone(result) === part.steps ? ', complete' : ', to be continued'}`)
}

function progress(result: PartResult): string {
  const done = stepsDone(result)
  return `${done} of ${result.steps} seeds, ${result.failures.length} failures, ${result.seconds.toFixed(0)} s`
}

function usage(message: string): never {
  console.error(message)
  process.exit(2)
}
