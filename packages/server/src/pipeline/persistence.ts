/**
 * Writes trail and state behind the answers. The WAL is the truth; trail and state store are functions of it,
 * brought to disk at batch records only, where no batch is open: trail first, then the database in one atomic
 * batch, so that a trail is never shorter than its database says.
 *
 * Batches that close while a write is under way share the next one. What waits is bounded in bytes: {@link room}
 * holds the apply loop back when the disk is slower.
 */
import { type StateStore, type TrailStore } from '@cipherlog/storage'

/** Bytes of leaves and bodies applied since the write under way began, above which applying waits for it. */
const behindBytesMax = 64 * 1024 * 1024

/** A batch record, by the size of the tree and the log entry that closed it. */
export interface PersistedPlace {
  readonly treeSize: number
  readonly logIndex: number
}

export interface PersistenceOptions {
  readonly trail: Pick<TrailStore, 'flush'>
  readonly state: Pick<StateStore, 'checkpoint' | 'persist'>
  /** Where ledger and trail are, if at a batch record; undefined in the middle of a batch. */
  readonly atBatchRecord: () => PersistedPlace | undefined
  /** State and trail as of this place are on disk. */
  readonly onPersisted: (place: PersistedPlace) => void
  readonly onFatal: (error: unknown) => void
  readonly behindBytesMax?: number
}

export class Persistence {
  readonly #options: PersistenceOptions
  #working: Promise<void> | undefined
  /** A batch was closed that no checkpoint of the state holds. */
  #due = false
  #behindBytes = 0
  #stopped = false

  constructor(options: PersistenceOptions) {
    this.#options = options
  }

  /** A leaf was handed to the trail. */
  leaf(bytes: number): void {
    this.#behindBytes += bytes
  }

  /** The ledger closed a batch; must be called before anything else is applied. */
  closed(): void {
    this.#due = true
    this.#start()
  }

  /** Resolves when applying may go on; undefined: at once. */
  room(): Promise<void> | undefined {
    return this.#behindBytes > (this.#options.behindBytesMax ?? behindBytesMax) ? this.#working : undefined
  }

  /** Begins no further write. */
  stop(): void {
    this.#stopped = true
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  #start(): void {
    const { state, atBatchRecord, onFatal } = this.#options
    if (this.#working !== undefined || !this.#due || this.#stopped) return
    const place = atBatchRecord()
    // In the middle of a batch: its record will call.
    if (place === undefined) return
    this.#due = false
    this.#behindBytes = 0
    this.#working = this.#persist(state.checkpoint(), place).then(
      () => {
        this.#working = undefined
        this.#start()
      },
      (error: unknown) => {
        this.#working = undefined
        this.#stopped = true
        onFatal(error)
      },
    )
  }

  async #persist(batch: ReturnType<StateStore['checkpoint']>, place: PersistedPlace): Promise<void> {
    const { trail, state, onPersisted } = this.#options
    await trail.flush({ sync: true })
    await state.persist(batch)
    onPersisted(place)
  }
}
