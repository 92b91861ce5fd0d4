/**
 * What clients asked for and were told in a run, and the check of it against the log that came of it: every
 * acknowledged command is there exactly once and where it was said to be, nothing is there that nobody asked for,
 * reads are linearizable, sums are those of the log.
 */
import { invariant } from '@cipherlog/core'
import { type CounterReading, type Done, type WatchEntry } from '@cipherlog/client'
import { namespaces } from './blueprint.ts'
import { checkRegister, type Operation } from './history-checker.ts'

/** Additions of a run: each adds another power of two, so that a sum names those that it holds. */
export const additionsMax = 16

interface Addition {
  readonly amount: bigint
  readonly invokedAt: number
  returnedAt: number
  leaf: number | undefined
}

interface SumReading {
  readonly invokedAt: number
  readonly returnedAt: number
  readonly value: bigint
  readonly count: number
  /** Leaf of the batch record that the sum is as of; -1: there was no cell. */
  readonly batchLeaf: number
}

export class ClientHistory {
  readonly #now: () => number
  #last = 0
  readonly #operations: Operation[] = []
  /** Values that somebody meant to write, and positions of those that were acknowledged. */
  readonly #written = new Set<string>()
  readonly #acknowledged = new Map<string, string>()
  readonly #additions: Addition[] = []
  readonly #sums: SumReading[] = []

  /** @param now - time, which never goes back. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The next point in the order of events: what happens at one time has an order too. */
  #point(): number {
    this.#last = Math.max(this.#last + 1e-6, this.#now())
    return this.#last
  }

  /** A unique value that somebody is about to write. */
  writing(value: string): void {
    this.#written.add(value)
  }

  acknowledged(value: string, { position }: Done): void {
    this.#acknowledged.set(value, position)
  }

  /** An operation on a key that several write and read. */
  begin(operation: Omit<Operation, 'invokedAt' | 'returnedAt'>): Operation {
    const begun = { ...operation, invokedAt: this.#point(), returnedAt: Infinity }
    this.#operations.push(begun)
    return begun
  }

  end(operation: Operation): void {
    operation.returnedAt = this.#point()
  }

  get additions(): number {
    return this.#additions.length
  }

  /** The next addition. */
  adding(): Addition {
    const amount = 1n << BigInt(this.#additions.length)
    const addition: Addition = { amount, invokedAt: this.#point(), returnedAt: Infinity, leaf: undefined }
    this.#additions.push(addition)
    return addition
  }

  added(addition: Addition, { leaf }: Pick<Done, 'leaf'>): void {
    addition.returnedAt = this.#point()
    addition.leaf = leaf
  }

  /** A point at which a read of the sum begins. */
  readingSum(): number {
    return this.#point()
  }

  sumRead(invokedAt: number, sum: CounterReading | undefined): void {
    this.#sums.push({
      invokedAt,
      returnedAt: this.#point(),
      value: sum?.value ?? 0n,
      count: sum?.count ?? 0,
      batchLeaf: sum === undefined ? -1 : Number(sum.position.slice(sum.position.lastIndexOf('#') + 1)),
    })
  }

  /**
   * @param entries - every command of the log, opened, in log order.
   * @throws InvariantViolation
   */
  check(entries: readonly WatchEntry[]): void {
    const applied = entries.filter(({ verdictName }) => verdictName === 'applied')
    this.#checkExactlyOnce(applied)
    for (const key of new Set(this.#operations.map((operation) => operation.key))) {
      const operations = this.#operations.filter((operation) => operation.key === key)
      const order = applied.filter(({ namespace, name }) => namespace === namespaces.kv && name === key)
      checkRegister(
        key,
        operations,
        order.map(({ value }) => value as string),
      )
    }
    this.#checkSums(applied.filter(({ namespace }) => namespace === namespaces.counter))
  }

  #checkExactlyOnce(applied: readonly WatchEntry[]): void {
    const positions = new Map<string, string>()
    for (const { namespace, op, value, position, problem } of applied) {
      if (namespace === namespaces.counter) continue
      invariant(problem === undefined, 'A reader with all keys cannot open a command.', { position, problem })
      if (op === 'delete') continue
      invariant(typeof value === 'string' && this.#written.has(value), 'The log holds a command that nobody made.', {
        position,
        value,
      })
      invariant(!positions.has(value), 'A command is on the log twice.', {
        value,
        positions: `${positions.get(value)} ${position}`,
      })
      positions.set(value, position)
    }
    for (const [value, position] of this.#acknowledged) {
      invariant(positions.get(value) === position, 'An acknowledged command is not where it was said to be.', {
        value,
        said: position,
        found: positions.get(value) ?? 'nowhere',
      })
    }
  }

  /** Sums are sets of additions, and those of a log grow: each read saw a set that its times and its leaf allow. */
  #checkSums(applied: readonly WatchEntry[]): void {
    const leaves = applied.map(({ leaf }) => leaf)
    for (const { leaf, amount } of this.#additions) {
      if (leaf === undefined) continue
      invariant(leaves.includes(leaf), 'An acknowledged addition is not on the log.', { leaf, amount: String(amount) })
    }
    for (const { value, count, batchLeaf, invokedAt, returnedAt } of this.#sums) {
      const details = { value: String(value), count, batchLeaf }
      const holds = ({ amount }: Addition): boolean => (value & amount) !== 0n
      invariant(
        this.#additions.filter(holds).length === count && leaves.filter((leaf) => leaf < batchLeaf).length === count,
        'A sum holds another number of additions than the log up to its leaf.',
        details,
      )
      for (const addition of this.#additions) {
        const { amount } = addition
        if (addition.leaf !== undefined) {
          const covered = addition.leaf < batchLeaf
          invariant(holds(addition) === covered, 'A sum is not that of its leaf.', {
            ...details,
            amount: String(amount),
          })
        }
        invariant(
          addition.returnedAt > invokedAt || holds(addition),
          'Not linearizable: a sum lacks an addition that had been acknowledged.',
          { ...details, amount: String(amount) },
        )
        invariant(addition.invokedAt < returnedAt || !holds(addition), 'A sum holds an addition from the future.', {
          ...details,
          amount: String(amount),
        })
      }
      for (const other of this.#sums.filter(({ returnedAt: earlier }) => earlier < invokedAt)) {
        invariant((other.value & ~value) === 0n, 'Not linearizable: a sum went back.', details)
      }
    }
  }
}
