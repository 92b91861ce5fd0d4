/** The machine that figures come from. */
import { execFile } from 'node:child_process'
import { open, readFile, rm } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { percentile } from './bench.ts'

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGb: number
  readonly system: string
  readonly node: string
  /** Of the folder that the bench wrote to. */
  readonly filesystem: string
  /** Median of appending 4 KiB and syncing it. */
  readonly fdatasyncMs: number
  /** Of the last minute, when the bench began. */
  readonly load: number
  readonly loadAfter: number
  /** Commit of the checkout, `+` if files differ from it. */
  readonly revision: string
}

/** Everything but the load afterwards. */
export async function describeMachine(folder: string): Promise<Omit<Machine, 'loadAfter'>> {
  const load = loadavg()[0]!
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    cores: availableParallelism(),
    memoryGb: totalmem() / 1e9,
    system: `${type()} ${release().split('-')[0]}`,
    node: process.versions.node,
    filesystem: await filesystemOf(folder),
    fdatasyncMs: await timeFdatasync(folder),
    load,
    revision: await revision(),
  }
}

async function filesystemOf(folder: string): Promise<string> {
  let mounts: string
  try {
    mounts = await readFile('/proc/self/mounts', 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'unknown filesystem'
    throw error
  }
  const path = resolve(folder)
  const [nearest] = mounts
    .split('\n')
    .flatMap((line) => {
      const [, at, kind] = line.split(' ')
      const above = at !== undefined && (at === '/' || path === at || path.startsWith(`${at}/`))
      return above && kind !== undefined ? [{ at, kind }] : []
    })
    .sort((a, b) => b.at.length - a.at.length)
  return nearest?.kind ?? 'unknown filesystem'
}

async function timeFdatasync(folder: string): Promise<number> {
  const path = join(folder, 'fdatasync')
  const file = await open(path, 'w')
  try {
    const bytes = new Uint8Array(4096)
    const times: number[] = []
    for (let i = 0; i < 50; i++) {
      const start = performance.now()
      await file.write(bytes)
      await file.datasync()
      times.push(performance.now() - start)
    }
    return percentile(
      times.sort((a, b) => a - b),
      0.5,
    )
  } finally {
    await file.close()
    await rm(path)
  }
}

async function revision(): Promise<string> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: import.meta.dirname })).stdout.trim()
  try {
    const commit = await git('rev-parse', '--short', 'HEAD')
    return (await git('status', '--porcelain', '--untracked-files=no')) === '' ? commit : `${commit}+`
  } catch (error) {
    // No git, or no checkout: a number for 128 and the like, text for ENOENT.
    if ((error as { code?: unknown }).code === undefined) throw error
    return 'unknown'
  }
}
