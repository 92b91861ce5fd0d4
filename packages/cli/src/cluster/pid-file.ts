/**
 * Which nodes were left running. A process id alone may belong to anybody after a while, so a process counts as a
 * node only if its command line names the node's own configuration.
 */
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { CipherlogError } from '@cipherlog/core'
import { type NodeFiles } from './layout.ts'

const run = promisify(execFile)
/** How long a node may take to stop before it is said that it hangs. */
const stopMsMax = 30_000

export async function writePid(node: NodeFiles, pid: number): Promise<void> {
  await writeFile(node.pidFile, `${pid}\n`)
}

export async function forgetPid(node: NodeFiles): Promise<void> {
  await rm(node.pidFile, { force: true })
}

/** The process id of a running node; undefined if it does not run. */
export async function runningPid(node: NodeFiles): Promise<number | undefined> {
  let text: string
  try {
    text = await readFile(node.pidFile, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (!/^\d{1,10}\n$/.test(text)) return undefined
  const pid = Number(text)
  return (await commandLine(pid)).includes(node.configFile) ? pid : undefined
}

/** Stops a node that an earlier command left running; false if it does not run. @throws `ERR_NODE_STOPPED` if it hangs */
export async function stopRunning(node: NodeFiles): Promise<boolean> {
  const pid = await runningPid(node)
  if (pid === undefined) {
    await forgetPid(node)
    return false
  }
  process.kill(pid, 'SIGTERM')
  const deadline = performance.now() + stopMsMax
  while ((await runningPid(node)) !== undefined) {
    if (performance.now() > deadline) {
      const message = `Node ${node.number} (process ${pid}) does not stop; look into ${node.logFile}.`
      throw new CipherlogError('ERR_NODE_STOPPED', message, { details: { pid } })
    }
    await sleep(50)
  }
  await forgetPid(node)
  return true
}

/** Empty if there is no such process. */
async function commandLine(pid: number): Promise<string> {
  try {
    const { stdout } = await run('ps', ['-ww', '-o', 'args=', '-p', String(pid)])
    return stdout
  } catch (error) {
    // ps exits with 1 if it finds none.
    if ((error as { code?: unknown }).code === 1) return ''
    throw error
  }
}
