/**
 * What a client has verified, so that it never goes back (DESIGN §4): the newest registry head and checkpoint, the
 * session numbers it used, and per key the newest position it wrote or read.
 *
 * Kept per origin in a {@link ClientMemory}. Invariant: sizes, numbers and positions only grow. Losing it costs
 * protection against an older state and nothing else; keeping an old copy is as bad as losing it.
 */
import { array, bytes, constant, decode, encode, record, text, toHex, uint } from '@cipherlog/core'
import { digest, namespaceName, type Seen } from '@cipherlog/format'

/** Keys whose positions are kept; the one not used for longest goes first. */
const keysMax = 65_536

const keyPosition = record('key-position', {
  namespace: [1, namespaceName],
  key: [2, bytes(1, 512)],
  leaf: [3, uint()],
  command: [4, uint(255)],
})

const remembered = record(
  'client-memory',
  {
    version: [0, constant(1)],
    registryNumber: [1, uint()],
    registryDigest: [2, digest],
    treeSize: [3, uint()],
    rootHash: [4, digest],
    /** The note of that size, as evidence. */
    checkpoint: [5, text(65_536)],
    /** Highest session number this client used. */
    session: [6, uint()],
    /** Longest unused first. */
    keys: [7, array(keyPosition, keysMax)],
  },
  /** The generation that this client saw go on from this origin's. */
  { next: [8, uint(Number.MAX_SAFE_INTEGER, 1)] },
)

/** Bytes of an encoded history. */
export const historyBytesMax = 64 * 1024 * 1024

/** Where a client keeps what it has seen: opaque bytes for each origin. One client at a time. */
export interface ClientMemory {
  /** What {@link ClientMemory.save} was given last. */
  load(origin: string): Promise<Uint8Array | undefined>
  /** Durable when it resolves. */
  save(origin: string, bytes: Uint8Array): Promise<void>
}

/** Forgets with the process. */
export function inMemory(): ClientMemory {
  const saved = new Map<string, Uint8Array>()
  return {
    load: (origin) => Promise.resolve(saved.get(origin)),
    save: (origin, bytes) => {
      saved.set(origin, bytes.slice())
      return Promise.resolve()
    },
  }
}

export interface Position {
  readonly leaf: number
  readonly command: number
}

export interface ProvenHead extends Seen {
  readonly number: number
  readonly digest: Uint8Array
  readonly checkpoint: string
}

export class History {
  readonly origin: string
  readonly #memory: ClientMemory
  readonly #keys = new Map<string, { namespace: string; key: Uint8Array } & Position>()
  #head: ProvenHead | undefined
  #session = 0
  #next: number | undefined
  #dirty = false
  #saving: Promise<void> | undefined

  private constructor(origin: string, memory: ClientMemory) {
    this.origin = origin
    this.#memory = memory
  }

  /** @throws {@link DecodeError} if the memory holds something else; never silently forgets. */
  static async load(origin: string, memory: ClientMemory): Promise<History> {
    const history = new History(origin, memory)
    const saved = await memory.load(origin)
    if (saved === undefined) return history
    const stored = decode(remembered, saved, historyBytesMax)
    const { registryNumber, registryDigest, treeSize, rootHash, checkpoint } = stored
    if (treeSize > 0) history.#head = { number: registryNumber, digest: registryDigest, treeSize, rootHash, checkpoint }
    history.#session = stored.session
    history.#next = stored.next
    for (const entry of stored.keys) history.#keys.set(nameOf(entry.namespace, entry.key), entry)
    return history
  }

  get head(): ProvenHead | undefined {
    return this.#head
  }

  get session(): number {
    return this.#session
  }

  /** The generation that this one's log goes on as, once the client has verified that. */
  get next(): number | undefined {
    return this.#next
  }

  /** Notes that a restore ended this origin; resolves when it is kept. */
  async setNext(generation: number): Promise<void> {
    if (this.#next === generation) return
    this.#next = generation
    await this.save()
  }

  /** Resolves when it is kept. */
  setHead(head: ProvenHead): Promise<void> {
    this.#head = head
    return this.save()
  }

  /** A newer checkpoint under the same registry head. */
  setCheckpoint(checkpoint: Seen & { readonly checkpoint: string }): void {
    if (this.#head === undefined || checkpoint.treeSize <= this.#head.treeSize) return
    this.#head = { ...this.#head, ...checkpoint }
    this.#saveSoon()
  }

  setSession(number: number): Promise<void> {
    this.#session = Math.max(this.#session, number)
    return this.save()
  }

  position(namespace: string, key: Uint8Array): Position | undefined {
    return this.#keys.get(nameOf(namespace, key))
  }

  /** Notes that the key was written or read at a position; older ones change nothing. Kept soon after. */
  note(namespace: string, key: Uint8Array, { leaf, command }: Position): void {
    const name = nameOf(namespace, key)
    const known = this.#keys.get(name)
    const newest = known !== undefined && isBefore({ leaf, command }, known) ? known : { namespace, key, leaf, command }
    // Again at the end: the order of the map is that of use.
    this.#keys.delete(name)
    this.#keys.set(name, newest)
    if (this.#keys.size > keysMax) this.#keys.delete(this.#keys.keys().next().value!)
    this.#saveSoon()
  }

  /** Keeps what is not kept yet. */
  async save(): Promise<void> {
    this.#dirty = true
    while (this.#dirty || this.#saving !== undefined) {
      if (this.#saving !== undefined) {
        await this.#saving
        continue
      }
      this.#dirty = false
      this.#saving = this.#memory.save(this.origin, this.#encode()).finally(() => (this.#saving = undefined))
    }
  }

  async flush(): Promise<void> {
    if (this.#dirty || this.#saving !== undefined) await this.save()
  }

  /** Positions are written when something else is, or at the end: losing the last of them loses no promise made. */
  #saveSoon(): void {
    this.#dirty = true
  }

  #encode(): Uint8Array {
    const head = this.#head ?? {
      number: 0,
      digest: new Uint8Array(32),
      treeSize: 0,
      rootHash: new Uint8Array(32),
      checkpoint: '',
    }
    return encode(remembered, {
      version: 1,
      registryNumber: head.number,
      registryDigest: head.digest,
      treeSize: head.treeSize,
      rootHash: head.rootHash,
      checkpoint: head.checkpoint,
      session: this.#session,
      keys: [...this.#keys.values()],
      ...(this.#next === undefined ? {} : { next: this.#next }),
    })
  }
}

/** Whether `a` lies before `b` on the log. */
export function isBefore(a: Position, b: Position): boolean {
  return a.leaf < b.leaf || (a.leaf === b.leaf && a.command < b.command)
}

function nameOf(namespace: string, key: Uint8Array): string {
  return `${namespace}#${toHex(key)}`
}
