/**
 * What a command leaves behind: bytes sent, and bytes on each replica's disk, at several sizes of bundles, against
 * plain; and how long an audit of it takes.
 *
 * Files are measured while nothing runs, once before and once after so many commands; databases after a full
 * compaction, so that how far LevelDB happened to be does not matter.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { auditTrail } from '@cipherlog/audit'
import { trailDirectory } from '@cipherlog/audit/node'
import { systemRandom } from '@cipherlog/core'
import { type TrustPolicy } from '@cipherlog/format'
import { stateDatabase } from '@cipherlog/storage'
import { ClassicLevel } from 'classic-level'
import { type Bench, type BenchContext } from './bench.ts'
import { bytesBelow } from './folders.ts'
import { PlainPeers } from './plain.ts'
import { levelsOf, valueBytes } from './load.ts'
import { measured, ratio, type Cell, type Measured, type Table } from './report.ts'
import { namespace, SealedCluster } from './sealed.ts'

/** How many commands are written in bundles of a size. */
const commandsOf = (bundle: number, quick: boolean): number => (quick ? 16 * bundle : 64 * Math.max(16, bundle))

/** Bytes per command. */
interface Stored {
  readonly signed: number
  readonly body: number
  readonly wal: number
  readonly records: number
  readonly hashes: number
  readonly bundlePacks: number
  readonly bodyPacks: number
  readonly otherTrail: number
  readonly database: number
}

interface PlainStored {
  readonly sent: number
  readonly log: number
  readonly database: number
}

export interface StoredFigures {
  readonly bundle: number
  readonly commands: number
  readonly sealed: Stored
  readonly plain: PlainStored
  /** Milliseconds for 1,000 commands. */
  readonly audit: Measured
}

export const stored: Bench = {
  name: 'stored',
  about: 'bytes per command sent and on disk, against plain; time of an audit',
  run: async (context) => storedTables(await measureStored(context)),
}

/** One result for each size of bundles. */
export async function measureStored(context: BenchContext): Promise<StoredFigures[]> {
  const results: StoredFigures[] = []
  for (const bundle of levelsOf(context)) {
    results.push(await measureSize({ bundle, commands: commandsOf(bundle, context.quick) }, context))
  }
  return results
}

export function storedTables(results: readonly StoredFigures[]): Table[] {
  return [bytesTable(results), auditTable(results)]
}

async function measureSize(
  size: { readonly bundle: number; readonly commands: number },
  context: BenchContext,
): Promise<StoredFigures> {
  const { bundle, commands } = size
  const { say, rounds, quick } = context
  const folder = join(context.folder, `bundles-of-${bundle}`)
  await using scope = new AsyncDisposableStack()
  // When the bench is interrupted, the outer scope is what ends.
  context.scope.defer(() => scope.disposeAsync())
  scope.defer(() => rm(folder, { recursive: true, force: true }))

  say(`bundles of ${bundle}: starting a cluster`)
  const cluster = await SealedCluster.create(join(folder, 'sealed'), { scope, quick })
  await cluster.stop()
  const { trustPolicy } = cluster
  const trail = cluster.nodes[0]!.trailDirectory
  const before = await bytesOfReplicas(cluster)
  const auditBefore = await auditMs(trail, trustPolicy, rounds)
  say(`bundles of ${bundle}: writing ${commands} commands`)
  await cluster.start()
  const sent = await writeBundles(cluster, size)
  await cluster.stop()
  const after = await bytesOfReplicas(cluster)
  say(`bundles of ${bundle}: auditing`)
  const auditAfter = await auditMs(trail, trustPolicy, rounds)
  const grown = (group: string): number => ((after.get(group) ?? 0) - (before.get(group) ?? 0)) / commands

  return {
    ...size,
    sealed: {
      ...sent,
      wal: grown('wal'),
      records: grown('records'),
      hashes: grown('hashes'),
      bundlePacks: grown('bundles'),
      bodyPacks: grown('bodies'),
      otherTrail: grown('other'),
      database: grown('database'),
    },
    plain: await writePlain(join(folder, 'plain'), size, scope),
    audit: measured(auditAfter.map((ms, round) => ((ms - auditBefore[round]!) / commands) * 1_000)),
  }
}

/** Bundles of exactly that size, and how many bytes of them were sent per command. */
async function writeBundles(
  { log }: SealedCluster,
  { bundle: size, commands }: { readonly bundle: number; readonly commands: number },
): Promise<Pick<Stored, 'signed' | 'body'>> {
  // Puts the content key's envelope on the log: this client is a new one.
  await log.kv(namespace).put('first again', null)
  let [signed, body] = [0, 0]
  for (let written = 0; written < commands; written += size) {
    const sealed = await Promise.all(
      Array.from({ length: size }, (_, i) =>
        log.lowLevel.sealPut(namespace, nameOf(written + i), systemRandom.bytes(valueBytes)),
      ),
    )
    const bundle = await log.lowLevel.sealBundle(sealed.flat())
    if (bundle.heads.length !== size) throw new Error(`a bundle has ${bundle.heads.length} commands, not ${size}`)
    const { verdicts } = await log.lowLevel.proposeBundle(bundle)
    if (verdicts.some((verdict) => verdict !== 0)) throw new Error('a command was rejected')
    signed += bundle.signed.length
    body += bundle.body.length
  }
  // Published, so that all of it is in the trail.
  await (await log.kv(namespace).put('last', null)).receipt()
  return { signed: signed / commands, body: body / commands }
}

async function writePlain(
  folder: string,
  { bundle: size, commands }: { readonly bundle: number; readonly commands: number },
  scope: AsyncDisposableStack,
): Promise<PlainStored> {
  const peers = await PlainPeers.create(folder, scope)
  for (let written = 0; written < commands; written += size) {
    const puts = Array.from({ length: size }, (_, i) => peers.put(nameOf(written + i), systemRandom.bytes(valueBytes)))
    await Promise.all(puts)
  }
  const sent = peers.bytesSent
  await peers.settle()
  await peers.close()
  const each = await Promise.all(
    peers.directories.map(async (directory) => ({
      log: (await bytesBelow(directory, (path) => (path === 'log' ? path : undefined))).get('log') ?? 0,
      database: await databaseBytes(join(directory, 'db')),
    })),
  )
  return {
    sent: sent / commands,
    log: mean(each.map(({ log }) => log)) / commands,
    database: mean(each.map(({ database }) => database)) / commands,
  }
}

const nameOf = (n: number): string => `name-${String(n).padStart(8, '0')}`

/** Bytes of a replica's files, by kind; means over the replicas. The cluster must be stopped. */
async function bytesOfReplicas({ nodes }: SealedCluster): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  const add = (group: string, bytes: number): void => {
    sums.set(group, (sums.get(group) ?? 0) + bytes / nodes.length)
  }
  for (const { directory, trailDirectory: trail } of nodes) {
    for (const [group, bytes] of await bytesBelow(join(directory, 'data'), kindOfFile)) add(group, bytes)
    for (const [group, bytes] of await bytesBelow(trail, kindOfTrailFile)) add(group, bytes)
    add('database', await databaseBytes(await stateDatabase(join(directory, 'data', 'state'))))
  }
  return sums
}

/** Segments and refs. */
function kindOfFile(path: string): string | undefined {
  return path.startsWith('wal/') ? 'wal' : undefined
}

/** DESIGN §5 "Trail". */
function kindOfTrailFile(path: string): string {
  if (path.startsWith('tile/entries/')) return 'records'
  if (path.startsWith('tile/bundle/')) return 'bundles'
  if (path.startsWith('tile/body/')) return 'bodies'
  return path.startsWith('tile/') ? 'hashes' : 'other'
}

/** Bytes of a database's tables once they are compacted. */
async function databaseBytes(directory: string): Promise<number> {
  const database = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    createIfMissing: false,
    compression: false,
  })
  await database.open()
  await database.compactRange(new Uint8Array(0), new Uint8Array(64).fill(0xff))
  await database.close()
  return (await bytesBelow(directory, (path) => (path.endsWith('.ldb') ? 'tables' : undefined))).get('tables') ?? 0
}

/** One time for each round, after one that is not counted. */
async function auditMs(directory: string, trustPolicy: TrustPolicy, rounds: number): Promise<number[]> {
  const times: number[] = []
  for (let round = -1; round < rounds; round++) {
    const start = performance.now()
    const { valid, complete } = await auditTrail(trailDirectory(directory), { trustPolicy })
    if (!valid || !complete) throw new Error('the audit found something')
    if (round >= 0) times.push(performance.now() - start)
  }
  return times
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function bytesTable(results: readonly StoredFigures[]): Table {
  const row = (title: string, of: (result: StoredFigures) => number): Cell[] => [
    title,
    ...results.map((result) => measured([of(result)])),
  ]
  const times = (title: string, of: (result: StoredFigures) => [Measured, Measured]): Cell[] => [
    title,
    ...results.map((result) => ratio(...of(result))),
  ]
  return {
    title: `Bytes per command of ${valueBytes} bytes`,
    columns: ['', ...results.map(({ bundle }) => `bundles of ${bundle}`)],
    rows: [
      row('sent: signed bundle', ({ sealed }) => sealed.signed),
      row('sent: body (sealed, padded value)', ({ sealed }) => sealed.body),
      row('write-ahead log of a replica', ({ sealed }) => sealed.wal),
      row('trail of a replica', ({ sealed }) => trailBytes(sealed)),
      row('– leaf records (`tile/entries`)', ({ sealed }) => sealed.records),
      row('– hash tiles', ({ sealed }) => sealed.hashes),
      row('– signed bundles (`tile/bundle`)', ({ sealed }) => sealed.bundlePacks),
      row('– bodies (`tile/body`)', ({ sealed }) => sealed.bodyPacks),
      row('– checkpoint and policy chain', ({ sealed }) => sealed.otherTrail),
      row('database of a replica', ({ sealed }) => sealed.database),
      row('plain: sent', ({ plain }) => plain.sent),
      row('plain: log of a process', ({ plain }) => plain.log),
      row('plain: database of a process', ({ plain }) => plain.database),
      times('sent, sealed / plain', sentBytes),
      times('on disk, sealed / plain', diskBytes),
    ],
    notes: [
      `From ${results.map(({ bundle, commands }) => `${commands.toLocaleString('en-US')} commands in bundles of ${bundle}`).join(', ')}; ` +
        'the session openings, batch records and tables that go with them are in it. The log is not compacted in this ' +
        'version, so a replica keeps all of these. Databases are measured after compaction.',
    ],
  }
}

function trailBytes({ records, hashes, bundlePacks, bodyPacks, otherTrail }: Stored): number {
  return records + hashes + bundlePacks + bodyPacks + otherTrail
}

/** Sent by the client to one process: sealed and plain. */
export function sentBytes({ sealed, plain }: StoredFigures): [Measured, Measured] {
  return [measured([sealed.signed + sealed.body]), measured([plain.sent])]
}

/** On the disk of one process: sealed and plain. */
export function diskBytes({ sealed, plain }: StoredFigures): [Measured, Measured] {
  return [measured([sealed.wal + trailBytes(sealed) + sealed.database]), measured([plain.log + plain.database])]
}

function auditTable(results: readonly StoredFigures[]): Table {
  return {
    title: 'Auditing a trail',
    columns: ['', ...results.map(({ bundle }) => `bundles of ${bundle}`)],
    rows: [['ms per 1,000 commands, one thread', ...results.map(({ audit }) => audit)]],
    notes: [
      'Every file, signature, verdict and root, twice: found in the files, then computed again from what was signed.',
    ],
  }
}
