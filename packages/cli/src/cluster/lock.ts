/**
 * One command at a time writes what a client remembers (keyring, memory): two at once would each forget what the
 * other has seen, and might use one session number twice. A lock file names its holder; that of a process that is
 * gone is taken over.
 */
import { open, readFile, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { CipherlogError } from '@cipherlog/core'

/** Longer than a command takes, short enough to notice one that hangs. */
const waitMsMax = 60_000

/**
 * Runs `action` while holding the lock at `path`.
 * @throws CipherlogError `ERR_LOCKED` if another process holds it for a minute
 */
export async function withLock<T>(path: string, action: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + waitMsMax
  while (!(await acquire(path))) {
    const holder = await holderOf(path)
    if (holder === undefined) continue
    if (!isAlive(holder)) await rm(path, { force: true })
    else if (performance.now() > deadline) {
      const message = `Another command (process ${holder}) has been using ${path} for a minute; let it finish or end it.`
      throw new CipherlogError('ERR_LOCKED', message, { details: { pid: holder } })
    } else await sleep(20)
  }
  try {
    return await action()
  } finally {
    await rm(path, { force: true })
  }
}

async function acquire(path: string): Promise<boolean> {
  let file
  try {
    file = await open(path, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  try {
    await file.writeFile(`${process.pid}\n`)
  } finally {
    await file.close()
  }
  return true
}

/** Process id in the lock; undefined if it was let go, or is being written at this moment. */
async function holderOf(path: string): Promise<number | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    if (/^\d{1,10}\n$/.test(text)) return Number(text)
    await sleep(20)
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, and is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
