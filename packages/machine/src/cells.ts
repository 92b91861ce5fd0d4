/**
 * Homomorphic cells and state root algorithm 1 (docs/ARCHITECTURE.md "Cells").
 *
 * Invariants: cell numbers count from 0 in order of creation and are never reused; slices are in ascending
 * order of key epoch; `digests[i]` is the digest of `settled[i]`.
 *
 * Contributions take effect in two steps. {@link Cells.contribute} counts and chains at once, in log order;
 * the sum is computed beside the apply path and written by {@link Cells.settle}, which every batch record
 * awaits. Until then a cell must be neither persisted nor read.
 */
import { decode, encode, invariant } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { addElgamal, elgamalIdentity } from '@cipherlog/crypto/evaluate/elgamal'
import {
  cellDigestInput,
  chainInput,
  storedCell,
  suites,
  type CellProof,
  type CommandHead,
  type StoredCell,
  type Suite,
} from '@cipherlog/format'
import { nodeHash } from '@cipherlog/merkle/verify'
import { stateKeys, statePrefixes } from './state-keys.ts'
import { type State } from './state.ts'

const zeroChain = new Uint8Array(32)

/** Adds ciphertexts of suites whose library wants a thread of its own. Adding cannot fail: a throw stops the node. */
export interface CellEvaluator {
  /** `sum` undefined: the slice is empty. Contributions passed the gate. Returns the suite's canonical bytes. */
  add(suite: Suite, sum: Uint8Array | undefined, contributions: readonly Uint8Array[]): Promise<Uint8Array>
}

interface PendingSum {
  readonly suite: Suite
  readonly cell: number
  readonly keyEpoch: number
  readonly contributions: Uint8Array[]
}

/** Where a contribution stands and how far it raises the declared bound. */
interface ContributionPlace {
  readonly namespace: { readonly name: string }
  readonly leaf: number
  readonly command: number
  readonly slicesPerCellMax: number
}

/** Digest of a cell: label `cell` over CBOR [number, namespace, key, slices]. */
export function cellDigest(cell: StoredCell): Uint8Array {
  return labelledHash(
    labels.cell,
    encode(cellDigestInput, [
      cell.number,
      cell.namespace,
      cell.key,
      cell.slices.map((slice): [number, number, Uint8Array, Uint8Array, number] => [
        slice.keyEpoch,
        slice.count,
        sha256(slice.sum),
        slice.chain,
        slice.bound,
      ]),
    ]),
  )
}

/** RFC 6962 leaf hash of a cell digest, as the state root uses it. */
function cellLeaf(digest: Uint8Array): Uint8Array {
  const input = new Uint8Array(33)
  input.set(digest, 1)
  return sha256(input)
}

export class Cells {
  readonly #evaluator: CellEvaluator
  readonly #cells: StoredCell[] = []
  readonly #numbers = new Map<string, number>()
  /** The cells as of the last batch record, and their digests: what may be proven, read and persisted. */
  readonly #settled: StoredCell[] = []
  readonly #digests: Uint8Array[] = []
  readonly #dirty = new Set<number>()
  /** Contributions not yet in their sums, by cell and epoch, in log order. */
  readonly #pending = new Map<string, PendingSum>()
  #journal: (() => void)[] = []

  constructor(evaluator: CellEvaluator) {
    this.#evaluator = evaluator
  }

  get cellCount(): number {
    return this.#cells.length
  }

  static async open(state: State, evaluator: CellEvaluator): Promise<Cells> {
    const cells = new Cells(evaluator)
    for await (const [, value] of state.iterate(statePrefixes.cells)) {
      const cell = decode(storedCell, value)
      invariant(cell.number === cells.#cells.length, 'The state store lacks a cell.', { number: cell.number })
      cells.#cells.push(cell)
      cells.#settled.push(cell)
      cells.#numbers.set(Cells.#name(cell.namespace, cell.key), cell.number)
      cells.#digests.push(cellDigest(cell))
    }
    return cells
  }

  static #name(namespace: string, key: Uint8Array): string {
    return `${namespace}\0${String.fromCharCode(...key)}`
  }

  /** Contributions in the slice of this epoch, settled or not. */
  count(namespace: string, key: Uint8Array, keyEpoch: number): number {
    const number = this.#numbers.get(Cells.#name(namespace, key))
    if (number === undefined) return 0
    return this.#cells[number]!.slices.find((slice) => slice.keyEpoch === keyEpoch)?.count ?? 0
  }

  /**
   * Takes one contribution, creating cell and slice as needed. False, and no change, if the cell has its
   * largest number of slices. Undone by {@link rollback} until {@link commit}.
   */
  contribute(
    place: ContributionPlace,
    head: CommandHead,
    ciphertext: Uint8Array,
    { bound }: { readonly bound: number },
  ): boolean {
    const key = head.key!
    const name = Cells.#name(place.namespace.name, key)
    const known = this.#numbers.get(name)
    const cell: StoredCell =
      known === undefined
        ? { number: this.#cells.length, namespace: place.namespace.name, key: key.slice(), slices: [] }
        : this.#cells[known]!
    const at = cell.slices.findIndex((slice) => slice.keyEpoch === head.keyEpoch)
    if (at === -1 && cell.slices.length >= place.slicesPerCellMax) return false

    const suite = head.suite as Suite
    const before = at === -1 ? undefined : cell.slices[at]!
    const slice = {
      keyEpoch: head.keyEpoch,
      count: (before?.count ?? 0) + 1,
      sum: before?.sum ?? (suite === suites.elgamalBjj ? elgamalIdentity : new Uint8Array(0)),
      chain: labelledHash(
        labels.cellChain,
        encode(chainInput, [before?.chain ?? zeroChain, place.leaf, place.command, 1, sha256(ciphertext)]),
      ),
      bound: (before?.bound ?? 0) + bound,
    }
    const slices = [...cell.slices.filter((other) => other.keyEpoch !== head.keyEpoch), slice].sort(
      (a, b) => a.keyEpoch - b.keyEpoch,
    )
    this.#cells[cell.number] = { ...cell, slices }
    this.#numbers.set(name, cell.number)
    this.#dirty.add(cell.number)

    const pendingName = `${cell.number}/${head.keyEpoch}`
    const pending = this.#pending.get(pendingName) ?? {
      suite,
      cell: cell.number,
      keyEpoch: head.keyEpoch,
      contributions: [],
    }
    pending.contributions.push(ciphertext.slice())
    this.#pending.set(pendingName, pending)

    this.#journal.push(() => {
      if (known === undefined) {
        this.#cells.pop()
        this.#numbers.delete(name)
        this.#dirty.delete(cell.number)
      } else {
        this.#cells[cell.number] = cell
      }
      pending.contributions.pop()
      if (pending.contributions.length === 0) this.#pending.delete(pendingName)
    })
    return true
  }

  /** Keeps what was contributed since the last commit or rollback. */
  commit(): void {
    this.#journal = []
  }

  /** Forgets what was contributed since the last commit or rollback (an atomic bundle failed). */
  rollback(): void {
    for (const undo of this.#journal.reverse()) undo()
    this.#journal = []
  }

  /** Brings every sum up to date, writes changed cells to the state and returns the state root, if there are cells. */
  async settle(state: State): Promise<Uint8Array | undefined> {
    invariant(this.#journal.length === 0, 'Cells were settled in the middle of a bundle.')
    for (const pending of [...this.#pending.values()]) {
      const cell = this.#cells[pending.cell]!
      const slice = cell.slices.find((candidate) => candidate.keyEpoch === pending.keyEpoch)!
      slice.sum = await this.#sum(pending, slice.sum)
    }
    this.#pending.clear()
    for (const number of [...this.#dirty].sort((a, b) => a - b)) {
      const cell = this.#cells[number]!
      this.#settled[number] = cell
      this.#digests[number] = cellDigest(cell)
      state.put(stateKeys.cell(number), encode(storedCell, cell))
    }
    this.#dirty.clear()
    return this.#digests.length === 0 ? undefined : this.#root(0, this.#digests.length)
  }

  async #sum(pending: PendingSum, sum: Uint8Array): Promise<Uint8Array> {
    if (pending.suite === suites.elgamalBjj) {
      return pending.contributions.reduce((total, contribution) => addElgamal(total, contribution), sum)
    }
    return this.#evaluator.add(pending.suite, sum.length === 0 ? undefined : sum, pending.contributions)
  }

  /** RFC 6962 §2.1 over the digests `from` … `to`, recursive. */
  #root(from: number, to: number): Uint8Array {
    const size = to - from
    if (size === 1) return cellLeaf(this.#digests[from]!)
    const split = from + splitPoint(size)
    return nodeHash(this.#root(from, split), this.#root(split, to))
  }

  /** A cell as of the last batch record with its path to the state root, or undefined if there is none of this name. */
  prove(namespace: string, key: Uint8Array): CellProof | undefined {
    const number = this.#numbers.get(Cells.#name(namespace, key))
    if (number === undefined || number >= this.#settled.length) return undefined
    const path: Uint8Array[] = []
    let from = 0
    let to = this.#digests.length
    while (to - from > 1) {
      const split = from + splitPoint(to - from)
      if (number < split) {
        path.unshift(this.#root(split, to))
        to = split
      } else {
        path.unshift(this.#root(from, split))
        from = split
      }
    }
    return { cell: this.#settled[number]!, cellCount: this.#digests.length, path }
  }
}

/** The largest power of two below `size` (RFC 6962 §2.1). */
function splitPoint(size: number): number {
  let k = 1
  while (k * 2 < size) k *= 2
  return k
}
