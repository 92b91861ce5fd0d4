/**
 * Whole-system simulations on two processors: while one seed is asked for, the next are under way. Every seed runs in
 * a process of its own kind, because the simulator replaces globals.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { type SimulationResult } from '@cipherlog/testkit/simulation'

const processes = 2
const worker = join(import.meta.dirname, '../simulation/worker.ts')

export class SimulationPool {
  readonly #results = new Map<number, Promise<SimulationResult>>()
  /** Idle, or busy with what stands behind each. */
  readonly #workers: { readonly child: ChildProcess; done: Promise<unknown> }[] = []
  #next = 0

  /** The result of `seed`; the seeds after it are begun. */
  async run(seed: number): Promise<SimulationResult> {
    for (let ahead = 0; ahead < processes; ahead++) this.#begin(seed + ahead)
    // The workers do not keep this process alive, so that it ends when nobody asks any more.
    const alive = setInterval(() => undefined, 60_000)
    try {
      return await this.#results.get(seed)!
    } finally {
      clearInterval(alive)
      this.#results.delete(seed)
    }
  }

  #begin(seed: number): void {
    if (this.#results.has(seed)) return
    const at = this.#next++ % processes
    const free = (this.#workers[at] ??= { child: startWorker(), done: Promise.resolve() })
    const result = free.done.then(() => ask(free.child, seed))
    free.done = result.catch(() => {
      // The next seed gets a process that works.
      if (this.#workers[at] === free) this.#workers.splice(at, 1, { child: startWorker(), done: Promise.resolve() })
    })
    this.#results.set(seed, result)
  }
}

function startWorker(): ChildProcess {
  const child = fork(worker, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.unref()
  child.channel?.unref()
  return child
}

function ask(child: ChildProcess, seed: number): Promise<SimulationResult> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the simulator ended with ${code} in seed ${seed}`))
    child.once('exit', onExit)
    child.once('message', (result) => {
      child.off('exit', onExit)
      resolve(result as SimulationResult)
    })
    child.send({ seed })
  })
}
