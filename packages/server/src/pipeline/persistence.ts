/**
 * Writes trail and state behind the answers. The WAL is the truth; trail and state store are functions of it,
 * brought to disk at batch records only, where no batch is open: trail first, then the database in one atomic
 * batch, so that a trail is never shorter than its database says.
 */
import { type StateStore, type TrailStore } from '@cipherlog/storage'

export interface PersistenceOptions {
  readonly trail: TrailStore
  readonly state: StateStore
  readonly onPersisted: (appliedIndex: number) => void
  readonly onFatal: (error: unknown) => void
}

export class Persistence {
  readonly #options: PersistenceOptions
  #working: Promise<void> | undefined

  constructor(options: PersistenceOptions) {
    this.#options = options
  }

  /** The ledger closed a batch at `appliedIndex`; must be called before anything else is applied. */
  closed(appliedIndex: number): void {
    if (this.#working !== undefined) return
    const batch = this.#options.state.checkpoint()
    this.#working = this.#persist(batch, appliedIndex)
      .catch((error: unknown) => this.#options.onFatal(error))
      .finally(() => {
        this.#working = undefined
      })
  }

  async #persist(batch: ReturnType<StateStore['checkpoint']>, appliedIndex: number): Promise<void> {
    const { trail, state, onPersisted } = this.#options
    await trail.flush({ sync: true })
    await state.persist(batch)
    onPersisted(appliedIndex)
  }

  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }
}
