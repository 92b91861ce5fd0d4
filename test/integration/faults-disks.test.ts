/** Promise 4 with real disks: one that is full, and bits that flip in the log, while clients go on. */
import { spawnSync } from 'node:child_process'
import { open, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { auditTrail } from '@cipherlog/audit'
import { trailDirectory } from '@cipherlog/audit/node'
import { lastWords, readTrustPolicy, type NodeFiles } from '@cipherlog/cli/cluster'
import { errorCode } from '@cipherlog/core'
import { entryKinds } from '@cipherlog/format'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { statusOf, waitForLeader } from './leaders.ts'
import { Load } from './load.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'
import { entriesOnDisk, flipBit, type EntryOnDisk } from './wal-files.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]

let cluster: ProcessCluster
let load: Load

/** Waits until a node has applied what the others had. */
async function caughtUp(node: number): Promise<void> {
  const goal = Math.max(
    ...(await Promise.all(everyone.map(async (each) => (await statusOf(cluster, each))?.commitIndex ?? 0))),
  )
  await expect
    .poll(async () => (await statusOf(cluster, node))?.appliedIndex ?? 0, { timeout: 20_000 })
    .toBeGreaterThanOrEqual(goal)
}

/** Every trail, once its node has stopped. */
async function expectCleanAudits(): Promise<void> {
  await cluster.stopNodes()
  const trustPolicy = await readTrustPolicy(cluster.profile.trustPolicyFile)
  for (const { number, trailDirectory: directory } of cluster.nodes) {
    const report = await auditTrail(trailDirectory(directory), { trustPolicy })
    expect(report.problems, `node ${number}`).toEqual([])
  }
}

const canMount = process.getuid?.() === 0 && spawnSync('mount', ['--version']).status === 0

describe('a full disk', () => {
  const victim = 2
  const mounted: string[] = []
  const run = (command: string, ...words: readonly string[]): void => {
    const { status, stderr } = spawnSync(command, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${stderr}`)
  }
  afterEach(async () => {
    await load.close()
    await cluster.stopNodes()
    // In the way of removing the cluster's folder.
    for (const folder of mounted.splice(0)) run('umount', '--lazy', folder)
    await cluster.close()
  })

  test.runIf(canMount)(
    'stops its node with a sentence; the others go on, and with room again it follows (as root)',
    async () => {
      cluster = await startProcesses({
        async prepare(nodes) {
          const folder = dataOf(nodes[victim - 1]!)
          await mkdir(folder)
          run('mount', '-t', 'tmpfs', '-o', 'size=192m,mode=700', 'tmpfs', folder)
          mounted.push(folder)
        },
      })
      load = await Load.start(cluster, { seed, name: 'full' })
      await load.progress()
      const filler = join(dataOf(cluster.nodes[victim - 1]!), 'filler')
      await fill(filler)
      expect(await cluster.exited(victim)).toBe(70)
      const words = (await lastWords(cluster.nodes[victim - 1]!)).join('\n')
      expect(words).toMatch(
        /ERR_STORAGE_FAILED: Writing .+ failed; stop this node, check its disk, then start it again\./,
      )
      await waitForLeader(
        cluster,
        everyone.filter((node) => node !== victim),
      )
      await load.progress(20)
      await rm(filler)
      await cluster.start(victim)
      await caughtUp(victim)
      await load.finish()
      await expectCleanAudits()
    },
  )

  /** Takes every byte that is left, and whatever becomes free. */
  async function fill(file: string): Promise<void> {
    const handle = await open(file, 'w')
    try {
      for (let bytes = new Uint8Array(1 << 20); bytes.length > 0;) {
        try {
          await handle.write(bytes)
        } catch (error) {
          if (errorCode(error) !== 'ENOSPC' && (error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          bytes = bytes.subarray(0, bytes.length >> 1)
        }
      }
    } finally {
      await handle.close()
    }
  }
  const dataOf = (node: NodeFiles): string => join(node.directory, 'data')
})

describe('bits that flip in the log', () => {
  beforeAll(async () => (cluster = await startProcesses()))
  afterEach(() => load.close())
  afterAll(() => cluster.close())

  test('in the last acknowledged record, while the leader changes, lose nothing', async () => {
    load = await Load.start(cluster, { seed, name: 'last' })
    await load.progress(20)
    const leader = await waitForLeader(cluster, everyone)
    await cluster.kill(leader)
    const others = everyone.filter((node) => node !== leader)
    const next = await waitForLeader(cluster, others)
    const { commitIndex } = (await statusOf(cluster, next))!
    const last = (await bundlesOf(leader)).filter(({ header }) => header.index <= commitIndex).at(-1)!
    await startDamaged(leader, last)
    await load.progress(10)
    // Now it may lead: what it mended is what the others have.
    await cluster.kill(next)
    await waitForLeader(
      cluster,
      everyone.filter((node) => node !== next),
    )
    await load.progress(10)
    await cluster.start(next)
    await load.finish()
  })

  test('at different entries of two nodes of three lose nothing', async () => {
    load = await Load.start(cluster, { seed, name: 'two' })
    await load.progress(20)
    const leader = await waitForLeader(cluster, everyone)
    const victims = everyone.filter((node) => node !== leader)
    await Promise.all(victims.map((node) => cluster.kill(node)))
    const entries = await bundlesOf(victims[0]!)
    const indexes = [entries.at(-6)!, entries.at(-3)!].map(({ header }) => header.index)
    for (const [n, node] of victims.entries()) {
      const damaged = (await bundlesOf(node)).findLast(({ header }) => header.index === indexes[n])!
      await startDamaged(node, damaged)
    }
    await load.progress(10)
    for (const node of everyone) await caughtUp(node)
    await load.finish()
    await expectCleanAudits()
  })

  async function bundlesOf(node: number): Promise<EntryOnDisk[]> {
    const entries = await entriesOnDisk(cluster.nodes[node - 1]!)
    return entries.filter(({ header }) => header.entryKind === entryKinds.commandBundle)
  }

  /** Flips a bit of a node that is down, and starts it. */
  async function startDamaged(node: number, entry: EntryOnDisk): Promise<void> {
    const before = await readFile(entry.file)
    await flipBit(entry)
    try {
      await cluster.start(node)
      await caughtUp(node)
      const end = entry.offset + entry.header.bytes
      const after = await readFile(entry.file)
      expect(after.subarray(entry.offset, end), 'mended on disk').toEqual(before.subarray(entry.offset, end))
    } catch (error) {
      // Refusing is safe: it votes for nobody and cuts nothing.
      expect(errorCode(error)).toBe('ERR_NODE_START')
      expect((error as Error).message).toMatch(/ERR_WAL_CORRUPT: .+ Nothing was cut/)
      await flipBit(entry)
      await cluster.start(node)
    }
  }
})
