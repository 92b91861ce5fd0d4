/**
 * Loaded into a node before everything else: ends its process at one operation of its disk, as `KILL_AT` says:
 * `<what> <number> <when>`. What: `level` (a batch of the database), `fdatasync`, `fsync`, `rename` or `write`. When:
 * `before` it is asked for, `during` it, or `after` it was done, before anybody hears of it.
 */
import fs from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { ClassicLevel } from 'classic-level'

const [what, number, when] = (process.env['KILL_AT'] ?? '').split(' ')
let count = 0

/** Counts an operation of a kind; true for the one that is meant. */
const isIt = (kind: string): boolean => isMainThread && kind === what && ++count === Number(number)
const die = (): void => void process.kill(process.pid, 'SIGKILL')

/** Wraps an operation that reports to the callback in its last argument. */
function watch(kind: 'fdatasync' | 'fsync' | 'rename' | 'write'): void {
  const original = fs[kind] as (...args: unknown[]) => void
  const watched = (...args: unknown[]): void => {
    if (!isIt(kind)) return original(...args)
    if (when === 'before') die()
    if (when === 'after') args[args.length - 1] = die
    original(...args)
    if (when === 'during') die()
  }
  Object.assign(fs, { [kind]: watched })
}
for (const kind of ['fdatasync', 'fsync', 'rename', 'write'] as const) watch(kind)

interface ChainedBatch {
  write(options?: object): Promise<void>
}
const prototype = ClassicLevel.prototype as unknown as { batch: (...args: unknown[]) => unknown }
const { batch } = prototype
prototype.batch = function (this: unknown, ...args: unknown[]): unknown {
  const made = batch.apply(this, args)
  if (args.length > 0) return made
  const chained = made as ChainedBatch
  const write = chained.write.bind(chained)
  chained.write = async (options) => {
    const hit = isIt('level')
    if (hit && when === 'before') die()
    const written = write(options)
    if (hit && when === 'during') die()
    await written
    if (hit && when === 'after') die()
  }
  return chained
}
