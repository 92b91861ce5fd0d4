/** Promise 4 with a real disk that is full, while clients go on. */
import { spawnSync } from 'node:child_process'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { lastWords, type NodeFiles } from '@cipherlog/cli/cluster'
import { afterEach, describe, expect, test } from 'vitest'
import { Load } from './load.ts'
import { caughtUp, expectCleanAudits, waitForLeader } from './observe.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]

let cluster: ProcessCluster
let load: Load

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
      await caughtUp(cluster, victim)
      await load.finish()
      await expectCleanAudits(cluster)
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
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          bytes = bytes.subarray(0, bytes.length >> 1)
        }
      }
    } finally {
      await handle.close()
    }
  }
  const dataOf = (node: NodeFiles): string => join(node.directory, 'data')
})
