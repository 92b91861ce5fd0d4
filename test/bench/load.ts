/**
 * What sealed puts cost to run, against plain ones: CPU, throughput and latency at several numbers of concurrent
 * puts. Both systems stay up all the time, three server processes each, and take turns within a round.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemRandom } from '@cipherlog/core'
import { inTurns, percentile, type Bench, type BenchContext } from './bench.ts'
import { closedLoop } from './closed-loop.ts'
import { cpuSecondsOf, ownCpuSeconds } from './cpu.ts'
import { PlainPeers } from './plain.ts'
import { measured, ratio, type Cell, type Measured, type Table } from './report.ts'
import { namespace, SealedCluster } from './sealed.ts'

export const valueBytes = 256

/** One side of the comparison. */
interface Side {
  readonly pids: readonly number[]
  /** Resolves with the number of the bundle or group that the put went in. */
  put(name: string, value: Uint8Array): Promise<number>
  /** Resolves once nothing of what was put is left to do. */
  settle(): Promise<void>
}

/** What one side did in one round; times of CPU are per put. */
interface Window {
  readonly putsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly putsPerGroup: number
  readonly serverMicros: number
  readonly clientMicros: number
}

interface Level {
  /** Concurrent puts. */
  readonly callers: number
  /** One for each round. */
  readonly sealed: readonly Window[]
  readonly plain: readonly Window[]
}

export interface LoadFigures {
  readonly levels: readonly Level[]
  readonly receiptMs: Measured
}

export const metrics: readonly (readonly [title: string, key: keyof Window])[] = [
  ['puts per second', 'putsPerSecond'],
  ['latency, median, ms', 'p50Ms'],
  ['latency, 99th percentile, ms', 'p99Ms'],
  ['CPU of the three server processes, µs per put', 'serverMicros'],
  ['CPU of the client process, µs per put', 'clientMicros'],
  ['puts per bundle or group', 'putsPerGroup'],
]

/** Bounds a window in case a machine is far faster than any known. */
const callsMax = 2_000_000

export const load: Bench = {
  name: 'load',
  about: 'CPU, throughput and latency of sealed puts, against plain',
  run: async (context) => loadTables(await measureLoad(context)),
}

/** Numbers of concurrent puts; in bundles, as many commands. */
export const levelsOf = ({ quick }: BenchContext): readonly number[] => (quick ? [16] : [1, 16, 256])

export async function measureLoad(context: BenchContext): Promise<LoadFigures> {
  const { folder, scope, quick, rounds, say } = context
  say('starting three nodes and three plain processes')
  const cluster = await SealedCluster.create(join(folder, 'sealed'), context)
  const plain = await PlainPeers.create(join(folder, 'plain'), scope)
  const sides = { sealed: sealedSide(cluster), plain: plainSide(plain) }
  const windowMs = quick ? 80 : 2_000
  const levels = levelsOf(context).map((callers) => ({ callers, sealed: [] as Window[], plain: [] as Window[] }))
  const receipts: number[] = []

  say('warming up')
  for (const side of Object.values(sides)) {
    for (const { callers } of levels) await measure(side, { callers, ms: windowMs / 2, prefix: 'warm-up' })
  }
  for (let round = 0; round < rounds; round++) {
    for (const { callers, ...windows } of levels) {
      say(`round ${round + 1} of ${rounds}: ${callers} concurrent puts`)
      const turn = (side: keyof typeof sides) => async (): Promise<void> => {
        const prefix = `round-${round}-${callers}`
        windows[side].push(await measure(sides[side], { callers, ms: windowMs, prefix }))
      }
      await inTurns(round, [turn('sealed'), turn('plain')])
    }
    say(`round ${round + 1} of ${rounds}: receipts`)
    receipts.push(await medianReceiptMs(cluster, round, context))
  }
  return { levels, receiptMs: measured(receipts) }
}

function sealedSide(cluster: SealedCluster): Side {
  const kv = cluster.log.kv(namespace)
  let newest: Awaited<ReturnType<typeof kv.put>> | undefined
  return {
    pids: cluster.pids,
    async put(name, value) {
      newest = await kv.put(name, value)
      return newest.leaf
    },
    async settle() {
      await newest?.receipt()
    },
  }
}

function plainSide(plain: PlainPeers): Side {
  return {
    pids: plain.pids,
    put: (name, value) => plain.put(name, value),
    settle: () => plain.settle(),
  }
}

async function measure(
  side: Side,
  { callers, ms, prefix }: { readonly callers: number; readonly ms: number; readonly prefix: string },
): Promise<Window> {
  const values = Array.from({ length: 64 }, () => systemRandom.bytes(valueBytes))
  const [servers, client] = [await cpuSecondsOf(side.pids), ownCpuSeconds()]
  const { calls, seconds, p50Ms, p99Ms, answers } = await closedLoop({ callers, ms, callsMax }, (n) =>
    side.put(`${prefix}-${n}`, values[n % values.length]!),
  )
  // What servers do behind their answers counts too.
  await side.settle()
  const microsPerPut = (cpuSeconds: number): number => (cpuSeconds * 1e6) / calls
  return {
    putsPerSecond: calls / seconds,
    p50Ms,
    p99Ms,
    putsPerGroup: calls / new Set(answers).size,
    serverMicros: microsPerPut((await cpuSecondsOf(side.pids)) - servers),
    clientMicros: microsPerPut(ownCpuSeconds() - client),
  }
}

/** From the call of `put` to a verified receipt, one at a time with pauses. */
async function medianReceiptMs({ log }: SealedCluster, round: number, { quick }: BenchContext): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < (quick ? 2 : 15); i++) {
    await sleep(50 + (i % 5) * 20)
    const start = performance.now()
    const done = await log.kv(namespace).put(`receipt-${round}-${i}`, systemRandom.bytes(valueBytes))
    await done.receipt()
    times.push(performance.now() - start)
  }
  return percentile(
    times.sort((a, b) => a - b),
    0.5,
  )
}

export function loadTables({ levels, receiptMs }: LoadFigures): Table[] {
  const rows = metrics.flatMap(([title, key]) =>
    levels.map((level): Cell[] => {
      const [sealed, plain] = sidesOf(level, key)
      return [title, String(level.callers), sealed, plain, ratio(sealed, plain)]
    }),
  )
  return [
    {
      title: `Puts of ${valueBytes} bytes`,
      columns: ['', 'concurrent puts', 'sealed', 'plain', 'sealed / plain'],
      rows,
      notes: [
        'A sealed put is done when a replica has applied it: encrypted, signed, synced to disk by two of three ' +
          'replicas, checked by each, answered with a signature. A plain put is done when two of three processes ' +
          'have synced the bare value; what these leave out is listed in `test/bench/plain.ts`. All processes and ' +
          'the client share the machine.',
      ],
    },
    {
      title: 'From put to receipt at light load',
      columns: ['', 'ms'],
      rows: [['median time from `put` to a receipt that the client has verified', receiptMs]],
      notes: [
        'One put at a time, 50 to 130 ms apart; the leader closes a batch for a receipt at most every 80 ms, ' +
          'and a quorum cosigns it.',
      ],
    },
  ]
}

/** A quantity of both sides, sealed first. */
export function sidesOf({ sealed, plain }: Level, key: keyof Window): [Measured, Measured] {
  return [measured(sealed.map((window) => window[key])), measured(plain.map((window) => window[key]))]
}
