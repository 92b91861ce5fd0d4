/**
 * Checks a data directory while no node runs on it, and changes nothing in it: the log with its refs files and every
 * payload, that the state store opens and can be read, and the trail's files against each other.
 */
import { cp, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { CipherlogError, errorCode } from '@cipherlog/core'
import { lockDataDirectory, readIdentity } from '../data-directory.ts'
import { createFileDisk } from '../disk/file-disk.ts'
import { createLevelStateStore } from '../state-store/level-state-store.ts'
import { readLog } from '../wal/recover.ts'
import { doubtOf } from '../wal/group-log.ts'
import { segmentNames } from '../wal/segment.ts'
import { type WalIdentity } from '../wal/wal.ts'
import { checkTrail } from './check-trail.ts'
import { type FsckGroup, type FsckOptions, type FsckProblem, type FsckReport, problemsMax } from './report.ts'

/**
 * Checks the data directory of a replica. Reads all of it; the state store is copied, since opening it writes.
 * @throws `ERR_DATA_DIR_LOCKED` while a node runs on it, `ERR_DATA_DIR_FORMAT` if it is nobody's.
 */
export async function fsck(directory: string, options: FsckOptions = {}): Promise<FsckReport> {
  const identity = await readIdentity(directory)
  const lock = await lockDataDirectory(directory)
  const problems: FsckProblem[] = []
  const report = (problem: FsckProblem) => {
    if (problems.length < problemsMax) problems.push(problem)
  }
  try {
    const at = (name: string) => path.join(directory, name)
    const wal = (await exists(at('wal'))) ? await checkWal(at('wal'), identity, options, report) : undefined
    const state = (await exists(at('state'))) ? await checkState(at('state'), options, report) : undefined
    const trail = (await exists(at('trail'))) ? await checkTrailFiles(at('trail'), options, report) : undefined
    return { identity, problems, wal, state, trail }
  } finally {
    await lock.close()
  }
}

type Report = (problem: FsckProblem) => void

async function checkWal(
  directory: string,
  identity: WalIdentity,
  { onProgress }: FsckOptions,
  report: Report,
): Promise<FsckReport['wal']> {
  try {
    const plan = await readLog(createFileDisk(directory), identity, true, (done, of) =>
      onProgress?.({ store: 'wal', done, of }),
    )
    const remedies = { mended: 'start', cut: 'start', hole: 'peers', doubt: 'peers' } as const
    for (const { segment, offset, reason, outcome } of plan.damage) {
      report({ store: 'wal', path: segment, offset, problem: reason, remedy: remedies[outcome] })
    }
    for (const { segment, scanned } of plan.segments) {
      if (scanned.refsPatch === undefined && scanned.refsCut === 0) continue
      const { refs } = segmentNames(segment.firstSequence)
      const offset = scanned.refsPatch?.position ?? scanned.refsBytes
      report({ store: 'wal', path: refs, offset, problem: 'is not what its segment says', remedy: 'start' })
    }
    const groups = [...plan.replay.groups.values()].map(({ hex, log }): FsckGroup => {
      const { baseIndex, lastIndex, hardState, damaged } = log
      const holes = damaged.map(({ ref }) => ref.index)
      const term = hardState?.term ?? 0
      return { group: hex, firstIndex: baseIndex + 1, lastIndex, term, holes, doubt: doubtOf(log) }
    })
    return { segments: plan.segments.length, groups }
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    const { segment, offset, reason } = (error.details ?? {}) as Record<string, unknown>
    report({
      store: 'wal',
      path: typeof segment === 'string' ? segment : '',
      offset: typeof offset === 'number' ? offset : undefined,
      problem: typeof reason === 'string' ? reason : error.message,
      remedy: 'replace',
    })
    return undefined
  }
}

/** Opens a copy: LevelDB writes when it is opened. */
async function checkState(
  directory: string,
  { scratch = tmpdir(), onProgress }: FsckOptions,
  report: Report,
): Promise<FsckReport['state']> {
  const copy = await mkdtemp(path.join(scratch, 'cipherlog-fsck-'))
  let pairs = 0
  try {
    await cp(directory, copy, { recursive: true })
    const store = await createLevelStateStore(copy)
    try {
      for await (const _ of store.iterate(new Uint8Array(0))) pairs++
    } finally {
      await store.close()
    }
    onProgress?.({ store: 'state', done: pairs, of: pairs })
    return { pairs }
  } catch (error) {
    const cause = error instanceof CipherlogError && error.cause instanceof Error ? error.cause : error
    const problem = `cannot be opened and read: ${cause instanceof Error ? cause.message : String(cause)}`
    report({ store: 'state', path: '', offset: undefined, problem, remedy: 'replace' })
    return undefined
  } finally {
    await rm(copy, { recursive: true })
  }
}

async function checkTrailFiles(
  directory: string,
  { onProgress }: FsckOptions,
  report: Report,
): Promise<FsckReport['trail']> {
  const problem = (file: string, what: string) => {
    report({ store: 'trail', path: file, offset: undefined, problem: what, remedy: 'replace' })
  }
  try {
    return await checkTrail(createFileDisk(directory), problem, (done, of) =>
      onProgress?.({ store: 'trail', done, of }),
    )
  } catch (error) {
    if (errorCode(error) !== 'ERR_TRAIL_DAMAGED') throw error
    problem('trail-from', (error as Error).message)
    return undefined
  }
}

async function exists(directory: string): Promise<boolean> {
  try {
    return (await stat(directory)).isDirectory()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
