/**
 * A connected log: the entrance to the SDK (DESIGN §10).
 *
 * Invariant: from `connect` on, keys, grants and cosigners come from a registry proven under the trust policy; what
 * replicas answer is verified or marked as claimed.
 */
import { systemClock, systemRandom, type Clock, type Random } from '@cipherlog/core'
import { type TrustPolicy } from '@cipherlog/format'
import { AppendLog } from './append-log.ts'
import { Bundles } from './bundles.ts'
import { Counter, type CellsContext } from './counter.ts'
import { type Dial, type ReplicaStatus } from './connection.ts'
import { Envelopes } from './envelopes.ts'
import { inMemory, type ClientMemory } from './history.ts'
import { checkedIdentity, type Identity } from './identity.ts'
import { Keyring } from './keyring.ts'
import { Kv } from './kv.ts'
import { LowLevel } from './low-level.ts'
import { nodeDial } from './node/node-connection.ts'
import { type TlsTrust } from './node/http2-session.ts'
import { LazyProver, type AmountProver } from './prover.ts'
import { Reader } from './reader.ts'
import { RegistryView } from './registry-view.ts'
import { Replicas } from './replicas.ts'
import { Vector } from './vector.ts'
import { watch, type WatchContext, type WatchEntry, type WatchOptions } from './watch.ts'
import { Writer } from './writer.ts'

export interface ConnectOptions {
  /** Replicas, `https://host:port`; one is enough to find the others. */
  readonly endpoints: readonly string[]
  /** All that is believed beforehand; `decodeTrustPolicy` of `@cipherlog/registry` reads its file. */
  readonly trustPolicy: TrustPolicy
  /** Who writes; default: the only client of this cluster in the keyring. Without one the log can be read. */
  readonly identity?: Identity | undefined
  /** Default: an empty one in memory. */
  readonly keyring?: Keyring | undefined
  /**
   * Where what was verified is kept, so that this client never goes back; default: for the life of the process.
   * `fileMemory(path)` outlives it.
   */
  readonly memory?: ClientMemory | undefined
  /** How old a quorum's newest cosignatures may be when something is sealed, milliseconds; default 60,000. */
  readonly registryMaxAgeMs?: number | undefined
  /** How long the same bytes are sent again until the log answers, milliseconds; default 60,000. */
  readonly proposeMsMax?: number | undefined
  /** How long a read tries one replica after another, milliseconds; default 15,000. */
  readonly readMsMax?: number | undefined
  /**
   * How replicas prove who they are; default `{ kind: 'pinned' }`: by the TLS keys that operators listed on the log.
   * `{ kind: 'ca' }` for clusters with certificates of a CA. What is believed never depends on it; what an
   * eavesdropper sees (names of namespaces, sizes, times) does.
   */
  readonly tls?: TlsTrust | undefined
  /** Makes the proofs of counters; default: one thread of `@cipherlog/prover`, from the first `add` to `close`. */
  readonly prover?: AmountProver | undefined
  /** Another transport than HTTP/2 over TLS. */
  readonly dial?: Dial | undefined
  readonly clock?: Clock | undefined
  readonly random?: Random | undefined
}

/** Where the client stands. */
export interface LogStatus {
  readonly origin: string
  /** Proven and remembered. */
  readonly proven: {
    readonly treeSize: number
    readonly rootHash: Uint8Array
    /** Newest key event. */
    readonly registryNumber: number
    /** By the quorum's clocks, milliseconds. */
    readonly cosignedAt: number
    /** Newest log time known, milliseconds. */
    readonly logTime: number
  }
  /** What each known endpoint says of itself; unsigned. Undefined: it does not answer. */
  readonly replicas: readonly { readonly endpoint: string; readonly status: ReplicaStatus | undefined }[]
}

export class Cipherlog {
  readonly origin: string
  readonly cluster: Uint8Array
  /** Bundles by hand, for tests and tools: see {@link LowLevel}. */
  readonly lowLevel: LowLevel
  readonly keyring: Keyring
  readonly identity: Identity | undefined
  /** The proven registry, for tools that need more than this class offers. */
  readonly view: RegistryView
  readonly replicas: Replicas
  readonly clock: Clock
  readonly random: Random
  readonly proposeMsMax: number
  readonly #bundles: Bundles | undefined
  readonly #reader: Reader
  readonly #writer: Writer
  readonly #prover: LazyProver
  readonly #cells: CellsContext
  readonly #watch: WatchContext

  private constructor(options: ConnectOptions, parts: { replicas: Replicas; view: RegistryView }) {
    const { trustPolicy, keyring = new Keyring(), clock = systemClock, random = systemRandom } = options
    const { replicas, view } = parts
    const { cluster } = trustPolicy
    this.cluster = cluster
    this.origin = view.history.origin
    this.keyring = keyring
    this.view = view
    this.replicas = replicas
    this.clock = clock
    this.random = random
    this.proposeMsMax = options.proposeMsMax ?? 60_000
    this.identity = options.identity ?? keyring.identity(cluster)
    const { identity } = this
    const session =
      identity === undefined
        ? undefined
        : { replicas, view, clock, deadlineMs: this.proposeMsMax, identity: checkedIdentity(identity) }
    this.#bundles = session === undefined ? undefined : new Bundles(session)
    const envelopes = new Envelopes({ cluster, keyring, replicas, view, random })
    this.#reader = new Reader({ cluster, keyring, view, replicas, envelopes })
    this.#writer = new Writer({
      identity,
      view,
      replicas,
      envelopes,
      bundles: this.#bundles,
      trustPolicy,
      random,
    })
    const [reader, writer] = [this.#reader, this.#writer]
    this.#prover = new LazyProver(options.prover)
    this.#cells = { keyring, view, replicas, reader, writer, prover: this.#prover, random, openedSums: new Map() }
    this.#watch = { view, replicas, reader, trustPolicy }
    this.lowLevel = new LowLevel({ session, reader: this.#reader, writer: this.#writer })
  }

  /**
   * Connects, and proves the registry before it returns.
   * @throws TypeError, RangeError on options that make no sense.
   * @throws PolicyError `ERR_KEY_UNPROVEN`, `ERR_POLICY_*`; VerificationError `ERR_VERIFY_*`: the endpoints do not
   * serve the log that the trust policy names, or not truly.
   * @throws CipherlogError `ERR_UNAVAILABLE` if no endpoint can be reached.
   */
  static async connect(options: ConnectOptions): Promise<Cipherlog> {
    const { trustPolicy, endpoints, clock = systemClock, random = systemRandom, registryMaxAgeMs = 60_000 } = options
    if (!(registryMaxAgeMs > 0)) throw new RangeError('registryMaxAgeMs is a number of milliseconds above 0')
    if (options.identity !== undefined) checkedIdentity(options.identity)
    const dial = options.dial ?? nodeDial(options.tls ?? { kind: 'pinned' })
    const { readMsMax = 15_000 } = options
    const replicas = new Replicas({ endpoints, dial, clock, random, readMsMax })
    const view = new RegistryView({
      replicas,
      trustPolicy,
      memory: options.memory ?? inMemory(),
      registryMaxAgeMs,
      readMsMax,
      clock,
    })
    try {
      await view.refresh()
      return new Cipherlog(options, { replicas, view })
    } catch (error) {
      replicas.close()
      throw error
    }
  }

  /** A namespace whose machine is `kv`. */
  kv(namespace: string): Kv {
    return new Kv(namespace, this.#reader, this.#writer)
  }

  /** A namespace whose machine is `log`. */
  log(namespace: string): AppendLog {
    return new AppendLog(namespace, this.#writer)
  }

  /** A namespace whose machine is `counter`. */
  counter(namespace: string): Counter {
    return new Counter(namespace, this.#cells)
  }

  /** A namespace whose machine is `vector`. */
  vector(namespace: string): Vector {
    return new Vector(namespace, this.#cells)
  }

  /**
   * Commands in log order from a leaf on, then new ones, until the iteration is ended or `signal` aborts. It goes on
   * with another replica when one is lost.
   */
  watch(options: WatchOptions = {}): AsyncGenerator<WatchEntry> {
    return watch(this.#watch, options)
  }

  /** What is proven, and what every known endpoint says of itself. */
  async status(): Promise<LogStatus> {
    const { checkpoint, batchRecord, registry } = this.view.current
    const { treeSize, rootHash } = this.view.history.head!
    return {
      origin: this.origin,
      proven: {
        treeSize,
        rootHash,
        registryNumber: registry.head.number,
        cosignedAt: checkpoint.cosignedAtSeconds * 1000,
        logTime: batchRecord.logTime,
      },
      replicas: await Promise.all(
        this.replicas.addresses.map(async (endpoint) => ({
          endpoint,
          status: await this.replicas
            .connection(endpoint)
            .status()
            .catch(() => undefined),
        })),
      ),
    }
  }

  /** Ends connections, rejects what was not sent, and keeps what was seen. */
  async close(): Promise<void> {
    this.#bundles?.close()
    this.replicas.close()
    await this.#prover.close()
    await this.view.history.flush()
  }
}
