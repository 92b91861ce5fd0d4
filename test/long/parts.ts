/**
 * What the long run consists of: each part repeats one test under many seeds, a seed a step. A step says what it
 * counted and how it failed, and knows nothing of time, results and reports (run.ts).
 */
import { runRaftSeed } from '@cipherlog/testkit'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { kinds } from '../simulation/kinds.ts'
import { SimulationPool } from './simulation-pool.ts'

export const root = join(import.meta.dirname, '../..')

export interface Step {
  /** Added up over the steps. */
  readonly counts: Readonly<Record<string, number>>
  /** One line, free of paths of this machine; undefined: it passed. */
  readonly failure?: string
}

export interface Part {
  readonly about: string
  /** Steps, each with a seed of its own, that make the part complete. */
  readonly steps: number
  /** What the part tests; it resumes only over the same sources. Globs from the repository's root. */
  readonly sources: readonly string[]
  /** How to replay one seed. */
  readonly replay: (seed: number) => string
  readonly step: (seed: number) => Step | Promise<Step>
  /** Counts that must have become positive at the end: what never happened was not tested. */
  readonly mustHappen?: readonly string[]
}

const sourcesOf = (...packages: string[]): string[] => packages.map((name) => `packages/${name}/src/**/*.ts`)
const everything = [
  ...sourcesOf('core', 'crypto', 'format', 'merkle', 'registry', 'raft', 'proof', 'machine', 'storage', 'api'),
  ...sourcesOf('audit', 'client', 'server', 'cli', 'testkit'),
]

const formatRuns = 100
const simulations = new SimulationPool()

export const parts: Readonly<Record<string, Part>> = {
  raft: {
    about: 'Raft clusters of 1 to 7 nodes in virtual time, 800 rounds of faults each (packages/testkit)',
    steps: 20_000,
    sources: [...sourcesOf('core', 'raft'), ...['packages/testkit/src/prng.ts', 'packages/testkit/src/raft-*.ts']],
    replay: (seed) => `npm run test:long -- --only raft --seed ${seed}`,
    step: raftStep,
    mustHappen: [
      ...['elections', 'committed', 'proposed', 'lost', 'truncations', 'reads', 'readsFailed', 'crashes'],
      ...['tornWrites', 'stepDowns', 'dropped', 'duplicated', 'clogs', 'pauses', 'partitions', 'hangs'],
      ...['coups', 'wipes', 'replaced', 'confChanges', 'jointConfs', 'transfers', 'leaseReads', 'followerReads'],
      ...['forwarded', 'compactions', 'snapshotsInstalled', 'snapshotsFailed', 'snapshotStatusLost', 'slept'],
    ],
  },
  simulation: {
    about: 'the whole system on virtual time: clusters of 3, 5 and 7, clients, operator and auditor under faults',
    steps: 5000,
    sources: [
      ...sourcesOf('core', 'crypto', 'format', 'merkle', 'registry', 'raft', 'proof', 'machine', 'storage', 'api'),
      ...sourcesOf('audit', 'client'),
      ...['packages/server/src/pipeline/*.ts', 'packages/testkit/src/simulation/*.ts'],
    ],
    replay: (seed) => `npm run test:sim -- --seed ${seed}`,
    step: simulationStep,
    mustHappen: kinds,
  },
  formats: {
    about: `every codec on random values and mutations against a slow twin, ${formatRuns} runs of each property a seed`,
    steps: 5,
    sources: [...sourcesOf('core', 'format'), 'test/conformance/formats/*.ts'],
    replay: (seed) =>
      `CIPHERLOG_SEED=${seed} CIPHERLOG_RUNS=${formatRuns} npx vitest run test/conformance/formats/formats.test.ts`,
    step: (seed) =>
      vitestStep('test/conformance/formats/formats.test.ts', {
        CIPHERLOG_SEED: String(seed),
        CIPHERLOG_RUNS: String(formatRuns),
      }),
  },
  power: {
    about: 'power fails at every 397th write or sync of replicas with 260 bundles, then roots, answers and an audit',
    steps: 20,
    sources: [...everything],
    replay: (seed) =>
      `CIPHERLOG_SEED=${seed} CIPHERLOG_CRASH_BUNDLES=260 CIPHERLOG_CRASH_STRIDE=397 npx vitest run packages/server/src/pipeline/crash-points.test.ts`,
    step: (seed) =>
      vitestStep('packages/server/src/pipeline/crash-points.test.ts', {
        CIPHERLOG_SEED: String(seed),
        CIPHERLOG_CRASH_BUNDLES: '260',
        CIPHERLOG_CRASH_STRIDE: '397',
      }),
  },
  faults: {
    about: 'kills, pauses, cut links, full and damaged disks, replaced nodes: real processes under a judged load',
    steps: 14,
    sources: [...everything, 'test/integration/*.ts'],
    replay: (seed) => `CIPHERLOG_SEED=${seed} npx vitest run ${faultsFile(seed)}`,
    step: (seed) => vitestStep(faultsFile(seed), { CIPHERLOG_SEED: String(seed) }),
  },
  crashes: {
    about: 'three real replicas, 20 SIGKILLs during one import, then equal roots and a clean audit of each',
    steps: 10,
    sources: [...everything, 'test/integration/*.ts'],
    replay: (seed) => `CIPHERLOG_SEED=${seed} npx vitest run test/integration/crashes.test.ts`,
    step: (seed) => vitestStep('test/integration/crashes.test.ts', { CIPHERLOG_SEED: String(seed) }),
  },
  flips: {
    about: 'bytes flipped in a published trail, 500 positions a seed, each reported by the audit',
    steps: 10,
    sources: [...everything, 'test/conformance/audit/*.ts'],
    replay: (seed) => `CIPHERLOG_SEED=${seed} npx vitest run test/conformance/audit/byte-flips.test.ts`,
    step: (seed) => vitestStep('test/conformance/audit/byte-flips.test.ts', { CIPHERLOG_SEED: String(seed) }),
  },
}

const faultKinds = ['processes', 'network', 'disks', 'bits', 'database', 'members', 'replaced']

/** One kind of fault after the other. */
function faultsFile(seed: number): string {
  return `test/integration/faults-${faultKinds[seed % faultKinds.length]}.test.ts`
}

function raftStep(seed: number): Step {
  try {
    return { counts: { ...runRaftSeed(seed, 'long') } }
  } catch (error) {
    return { counts: {}, failure: lineOf(error) }
  }
}

async function simulationStep(seed: number): Promise<Step> {
  const { counts, failure } = await simulations.run(seed)
  return failure === undefined ? { counts } : { counts, failure: failure.message.slice(0, 400) }
}

interface VitestReport {
  readonly numPassedTests: number
  /** Skipped, because this machine cannot do what they need. */
  readonly numPendingTests: number
  readonly numTotalTests: number
  readonly testResults: readonly {
    readonly message: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

/** Runs one test file in a process of its own. */
async function vitestStep(file: string, env: Readonly<Record<string, string>>): Promise<Step> {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
  const folder = await mkdtemp(join(tmpdir(), 'cipherlog-long-'))
  try {
    const reportFile = join(folder, 'report.json')
    const args = [vitest, 'run', file, '--reporter=json', `--outputFile.json=${reportFile}`, '--testTimeout=600000']
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'ignore' })
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', resolve)
    })
    const report = JSON.parse(await readFile(reportFile, 'utf8')) as VitestReport
    const counts = { tests: report.numPassedTests }
    const skipped = report.numPendingTests
    if (exitCode === 0 && counts.tests > 0 && counts.tests + skipped === report.numTotalTests) return { counts }
    const failed = report.testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .find(({ status }) => status === 'failed')
    const failure =
      failed === undefined
        ? lineOf(report.testResults.find(({ message }) => message !== '')?.message ?? `vitest ended with ${exitCode}`)
        : `${failed.fullName}: ${lineOf(failed.failureMessages[0] ?? 'no message')}`
    return { counts, failure }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The first line of what was thrown, without this machine's paths. */
function lineOf(error: unknown): string {
  return (String(error).split('\n')[0] ?? '').replaceAll(root, '.').slice(0, 400)
}
