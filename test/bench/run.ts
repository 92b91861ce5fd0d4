/**
 * Runs a bench and prints its tables:
 *
 *     npm run bench -- <name> [--rounds N] [--json] [--quick]
 *
 * The tables go to stdout as Markdown, to be pasted. With --json, stdout gets one JSON document instead, and the
 * tables go to stderr with the progress: `npm run --silent bench -- costs --json > costs.json`.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bench } from './bench.ts'
import { codec } from './codec.ts'
import { costs } from './costs.ts'
import { load } from './load.ts'
import { describeMachine } from './machine.ts'
import { proofs } from './proofs.ts'
import { toJson, toMarkdown, type Report } from './report.ts'
import { raftLog } from './raft-log.ts'
import { stored } from './stored.ts'

const benches: readonly Bench[] = [codec, load, stored, proofs, raftLog, costs]

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const bench = benches.find(({ name }) => name === positionals[0])
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5))

if (bench === undefined || positionals.length !== 1 || !Number.isInteger(rounds) || rounds < 1 || rounds > 1_000) {
  const list = benches.map(({ name, about }) => `  ${name.padEnd(8)}${about}`)
  const usage = 'npm run bench -- <name> [--rounds 1..1000] [--json] [--quick]'
  process.stderr.write([`Usage: ${usage}`, '', ...list, ''].join('\n'))
  process.exitCode = 2
} else {
  await runBench(bench)
}

async function runBench(chosen: Bench): Promise<void> {
  const scope = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'cipherlog-bench-'))
  scope.defer(() => rm(folder, { recursive: true, force: true }))
  let interrupted = false
  for (const [signal, exitCode] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.once(signal, () => {
      interrupted = true
      // Processes that the bench started end with it.
      void scope.disposeAsync().finally(() => process.exit(exitCode))
    })
  }
  try {
    const report = await measure(chosen, folder, scope)
    const [document, tables] = [toJson(report), toMarkdown(report)]
    process.stdout.write(options.json ? document : tables)
    if (options.json) process.stderr.write(tables)
  } catch (error) {
    // What was interrupted fails somewhere; that is no news.
    if (!interrupted) throw error
  } finally {
    await scope.disposeAsync()
  }
}

async function measure(chosen: Bench, folder: string, scope: AsyncDisposableStack): Promise<Report> {
  const machine = await describeMachine(folder)
  const start = performance.now()
  const say = (text: string): void => {
    const seconds = ((performance.now() - start) / 1000).toFixed(0).padStart(4)
    process.stderr.write(`${seconds} s  ${text}\n`)
  }
  const tables = await chosen.run({ rounds, quick: options.quick, folder, scope, say })
  const seconds = (performance.now() - start) / 1000
  return {
    bench: chosen.name,
    rounds,
    quick: options.quick,
    seconds,
    machine: { ...machine, loadAfter: loadavg()[0]! },
    tables,
  }
}
