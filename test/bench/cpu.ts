/** CPU time of processes, all their threads included. */
import { readFile } from 'node:fs/promises'

/** Linux counts in hundredths of a second towards user space, whatever its own clock does (proc_pid_stat(5)). */
const ticksPerSecond = 100

/** Seconds of CPU that running processes have used together, to 0.01 s each. Linux only. */
export async function cpuSecondsOf(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map(cpuSecondsOfOne))
  return each.reduce((sum, seconds) => sum + seconds, 0)
}

async function cpuSecondsOfOne(pid: number): Promise<number> {
  if (process.platform !== 'linux') throw new Error('CPU of other processes is read from /proc: run this on Linux')
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field, the name, may hold anything, so fields are counted behind its closing bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [utime, stime] = [Number(fields[11]), Number(fields[12])]
  return (utime + stime) / ticksPerSecond
}

/** Seconds of CPU that this process has used. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
