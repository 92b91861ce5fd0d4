/**
 * A replica's disk on virtual time: files, the state store's memory and the signed head, all behind one queue whose
 * operations take time, hang, fail for lack of space, and are caught half-done by a crash.
 *
 * What is on it outlives the replica's process; the views that a process gets (`files`, `stateStore`, `signedHead`)
 * end with it. A power loss keeps what was synced and keeps, loses or tears the rest; a killed process loses nothing
 * that it wrote, synced or not. Of operations under way each may have happened, or not, or in part.
 */
import {
  createMemoryDisk,
  createMemoryStateStore,
  StorageFailedError,
  type DiskFile,
  type MemoryDisk,
  type StateMemory,
  type StateStore,
} from '@cipherlog/storage'
import { type Prng } from '../prng.ts'
import { instead } from './instead.ts'
import { type Scheduler, type SimulatedProcess } from './scheduler.ts'

export interface SignedHead {
  readonly size: number
  readonly rootHash: Uint8Array
}

/** The parts of a disk that are made of files. */
export const fileStores = ['wal', 'trail', 'snapshots'] as const
export type FileStore = (typeof fileStores)[number]

interface Operation {
  readonly process: SimulatedProcess
  /** What it does to the disk. */
  readonly effect: () => Promise<unknown>
  /** Carries it out and tells its caller. */
  readonly run: () => void
  /** Writes without syncing, all of it or a first part: what a crash may leave of a write. */
  readonly tear: ((part: number) => void) | undefined
}

const sectorBytes = 512
/** Milliseconds of one operation of a healthy disk. */
const operationMsMin = 0.05
const operationMsMax = 2

export class SimulatedDisk {
  readonly stores: Readonly<Record<FileStore, MemoryDisk>> = {
    wal: createMemoryDisk(),
    trail: createMemoryDisk(),
    snapshots: createMemoryDisk(),
  }
  readonly state: StateMemory = new Map()
  head: SignedHead | undefined
  /** Notes that its replica was given when it joined. */
  notes: readonly string[] = []
  /** Factor on the time of every operation. */
  slowness = 1
  hung = false
  full = false
  /** It failed an operation of the present process. */
  failed = false
  /** Changes until `onCountdown` is called; the one that reaches zero is under way then. */
  countdown: number | undefined
  onCountdown: (() => void) | undefined
  readonly #scheduler: Scheduler
  readonly #prng: Prng
  readonly #underWay = new Set<Operation>()
  #waiting: Operation[] = []

  constructor(scheduler: Scheduler, prng: Prng) {
    this.#scheduler = scheduler
    this.#prng = prng
  }

  /** Nothing was ever written to it. */
  get isEmpty(): boolean {
    return this.state.size === 0 && fileStores.every((store) => this.stores[store].paths().length === 0)
  }

  /** Flips a bit of what is synced; false if there is nothing. */
  flipBit(store: FileStore): boolean {
    return this.#damage(store, (bytes) => {
      // Half of the time in what was written last, where the end of a log is decided.
      const end = bytes.findLastIndex((byte) => byte !== 0) + 1
      const from = this.#prng.chance(0.5) ? Math.max(0, end - sectorBytes) : 0
      bytes[this.#prng.between(from, Math.max(from, end - 1))]! ^= 1 << this.#prng.between(0, 7)
    })
  }

  /** A sector is written over with another one of its file, as by a write that went astray. */
  misdirectWrite(store: FileStore): boolean {
    return this.#damage(store, (bytes) => {
      const sectors = Math.max(1, Math.floor(bytes.length / sectorBytes))
      const from = this.#prng.between(0, sectors - 1) * sectorBytes
      const to = this.#prng.between(0, sectors - 1) * sectorBytes
      bytes.copyWithin(to, from, Math.min(bytes.length, from + sectorBytes))
    })
  }

  #damage(store: FileStore, edit: (bytes: Uint8Array) => void): boolean {
    const paths = this.stores[store].paths()
    if (paths.length === 0) return false
    let damaged = false
    this.stores[store].damage(this.#prng.pick(paths), (bytes) => {
      const before = bytes.slice()
      if (bytes.length > 0) edit(bytes)
      damaged = bytes.some((byte, at) => byte !== before[at])
      return bytes
    })
    return damaged
  }

  /** Operations that hang go on. */
  unhang(): void {
    this.hung = false
    for (const operation of this.#waiting.splice(0)) this.#start(operation)
  }

  /** Its process was killed; the machine goes on. */
  processKilled(): void {
    for (const operation of this.#fates()) {
      const fate = this.#prng.float()
      if (fate < 0.4) void operation.effect().catch(() => undefined)
      else if (fate < 0.7) operation.tear?.(this.#prng.float())
    }
  }

  /** The machine lost power. @returns after {@link powerOn}. */
  powerLost(): void {
    for (const operation of this.#fates()) {
      const fate = this.#prng.float()
      if (fate < 0.2) void operation.effect().catch(() => undefined)
      // Of what was being written to the medium, most is damaged (80 to 100 % in TigerBeetle's simulator).
      else operation.tear?.(1)
    }
    for (const store of fileStores) this.stores[store].crash()
  }

  powerOn(): void {
    for (const store of fileStores) this.stores[store].restart(this.#prng.float)
  }

  /** Operations under way, which no longer are. */
  #fates(): Operation[] {
    const operations = [...this.#underWay]
    this.#underWay.clear()
    this.#waiting = []
    this.countdown = undefined
    this.hung = false
    return operations
  }

  // Views of one process.

  files(process: SimulatedProcess, store: FileStore): MemoryDisk {
    const inner = this.stores[store]
    const change = <T>(effect: () => Promise<T>, tear?: (part: number) => void): Promise<T> =>
      this.#submit(process, () => this.#guarded(inner, effect), { tear, changes: true })
    const look = <T>(effect: () => Promise<T>): Promise<T> => this.#submit(process, effect, { changes: false })
    return {
      ...inner,
      open: async (path, options = {}) => {
        const [file, plain] = await change(() => Promise.all([inner.open(path, options), inner.open(path)]))
        const tear = (bytes: Uint8Array, position: number): void => {
          inner.fault = () => undefined
          void plain.write(bytes, position)
        }
        return this.#file(file, tear, look, change)
      },
      readFile: (path) => look(() => inner.readFile(path)),
      list: (path) => look(() => inner.list(path)),
      makeDirectory: (path) => change(() => inner.makeDirectory(path)),
      rename: (from, to) => change(() => inner.rename(from, to)),
      remove: (path) => change(() => inner.remove(path)),
      removeDirectory: (path) => change(() => inner.removeDirectory(path)),
      syncDirectory: (path) => change(() => inner.syncDirectory(path)),
    }
  }

  #file(
    file: DiskFile,
    tear: (bytes: Uint8Array, position: number) => void,
    look: <T>(effect: () => Promise<T>) => Promise<T>,
    change: <T>(effect: () => Promise<T>, tear?: (part: number) => void) => Promise<T>,
  ): DiskFile {
    return {
      size: () => look(() => file.size()),
      read: (position, length) => look(() => file.read(position, length)),
      write: (bytes, position) =>
        change(
          () => file.write(bytes, position),
          (part) => tear(bytes.subarray(0, Math.ceil(bytes.length * part)), position),
        ),
      truncate: (size) => change(() => file.truncate(size)),
      datasync: () => change(() => file.datasync()),
      close: () => file.close(),
    }
  }

  /** A disk without space takes half of a write. */
  #guarded<T>(inner: MemoryDisk, effect: () => Promise<T>): Promise<T> {
    inner.fault = ({ kind }) => {
      if (!this.full || (kind !== 'write' && kind !== 'create')) return undefined
      this.failed = true
      return 'fail'
    }
    return effect()
  }

  stateStore(process: SimulatedProcess): StateStore {
    return this.#slowStore(process, createMemoryStateStore(this.state))
  }

  #slowStore(process: SimulatedProcess, inner: StateStore): StateStore {
    return instead<StateStore>(inner, {
      persist: (batch) => this.#change(process, 'the state store', () => inner.persist(batch)),
      prepareReplacement: async (pairs) => {
        const replacement = await inner.prepareReplacement(pairs)
        return instead(replacement, {
          store: this.#slowStore(process, replacement.store),
          commit: () => this.#change(process, 'the state store', () => replacement.commit()),
        })
      },
    })
  }

  signedHead(process: SimulatedProcess) {
    return {
      read: (): SignedHead | undefined => this.head,
      write: (size: number, rootHash: Uint8Array): Promise<void> =>
        this.#change(process, 'the signed head', async () => {
          this.head = await Promise.resolve({ size, rootHash: rootHash.slice() })
        }),
    }
  }

  joinNotes(process: SimulatedProcess) {
    return {
      read: (): readonly string[] => this.notes,
      write: (notes: readonly string[]): Promise<void> =>
        this.#change(process, 'the join notes', async () => {
          this.notes = await Promise.resolve([...notes])
        }),
    }
  }

  /** Of something that is replaced as a whole. */
  #change<T>(process: SimulatedProcess, what: string, effect: () => Promise<T>): Promise<T> {
    return this.#submit(
      process,
      async () => {
        if (this.full) {
          this.failed = true
          throw new StorageFailedError(what, new Error('ENOSPC'))
        }
        return effect()
      },
      { changes: true },
    )
  }

  // The queue.

  #submit<T>(
    process: SimulatedProcess,
    effect: () => Promise<T>,
    { changes, tear }: { readonly changes: boolean; readonly tear?: ((part: number) => void) | undefined },
  ): Promise<T> {
    // Whoever waits for it waits for ever.
    if (!process.alive) return new Promise<T>(() => undefined)
    return new Promise<T>((resolve, reject) => {
      const operation: Operation = { process, effect, run: () => void effect().then(resolve, reject), tear }
      this.#underWay.add(operation)
      this.#start(operation)
      if (changes && this.countdown !== undefined && --this.countdown <= 0) {
        this.countdown = undefined
        this.onCountdown?.()
      }
    })
  }

  #start(operation: Operation): void {
    const ms = operationMsMin + this.#prng.float() ** 3 * (operationMsMax - operationMsMin)
    this.#scheduler.after(ms * this.slowness, operation.process, 'disk', () => {
      if (!this.#underWay.has(operation)) return
      if (this.hung) {
        this.#waiting.push(operation)
        return
      }
      this.#underWay.delete(operation)
      operation.run()
    })
  }
}
