/**
 * Homomorphic cells and state root algorithm 1 (docs/ARCHITECTURE.md "Cells").
 *
 * Invariants: cell numbers count from 0 in order of creation and are never reused; slices are in ascending
 * order of key epoch; cells and slices are replaced, never changed in place, for a proof may have handed them out;
 * leaf i of the tree is the digest of `recorded[i]`.
 *
 * Contributions take effect in three steps. {@link Cells.contribute} counts and chains at once, in log order;
 * {@link Cells.settle} computes the sums beside the apply path; {@link Cells.record}, in one synchronous step with
 * the batch record, makes cells readable and writes them. Before that a cell is neither persisted nor read.
 */
import { encode, invariant } from '@cipherlog/core'
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
import { CellTree } from './cell-tree.ts'
import { stateKeys, statePrefixes } from './state-keys.ts'
import { decodeStored, type State } from './state.ts'

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

export class Cells {
  readonly #evaluator: CellEvaluator
  readonly #cells: StoredCell[] = []
  readonly #numbers = new Map<string, number>()
  /** The cells as of the last batch record, and the tree of their digests: what may be proven, read and persisted. */
  readonly #recorded: StoredCell[] = []
  readonly #tree = new CellTree()
  /** Numbers of cells that may differ from what was recorded. */
  readonly #dirty = new Set<number>()
  /** Contributions not yet in their sums, by cell and epoch, in log order. */
  readonly #pending = new Map<string, PendingSum>()
  /** How to undo what was contributed since the last commit or rollback, in order. */
  #journal: (() => void)[] = []

  constructor(evaluator: CellEvaluator) {
    this.#evaluator = evaluator
  }

  get cellCount(): number {
    return this.#cells.length
  }

  /** Contributions since the last commit or rollback: a rejected command must not have added any. */
  get uncommitted(): number {
    return this.#journal.length
  }

  static async open(state: State, evaluator: CellEvaluator): Promise<Cells> {
    const cells = new Cells(evaluator)
    for await (const [, value] of state.iterate(statePrefixes.cells)) {
      const cell = decodeStored(storedCell, value)
      invariant(cell.number === cells.#cells.length, 'The state store lacks a cell.', { number: cell.number })
      cells.#cells.push(cell)
      cells.#recorded.push(cell)
      cells.#numbers.set(Cells.#name(cell.namespace, cell.key), cell.number)
      cells.#tree.set(cell.number, cellDigest(cell))
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

  /** Brings every sum up to date. Nothing may be contributed until it has resolved. */
  async settle(): Promise<void> {
    invariant(this.#journal.length === 0, 'Cells were settled in the middle of a bundle.')
    for (const pending of this.#pending.values()) {
      const { slices } = this.#cells[pending.cell]!
      const before = slices.find((slice) => slice.keyEpoch === pending.keyEpoch)!
      const settled = { ...before, sum: await this.#sum(pending, before.sum) }
      this.#cells[pending.cell] = {
        ...this.#cells[pending.cell]!,
        slices: slices.map((slice) => (slice === before ? settled : slice)),
      }
    }
    this.#pending.clear()
  }

  async #sum({ suite, contributions }: PendingSum, sum: Uint8Array): Promise<Uint8Array> {
    if (suite === suites.elgamalBjj) {
      return contributions.reduce((total, contribution) => addElgamal(total, contribution), sum)
    }
    return this.#evaluator.add(suite, sum.length === 0 ? undefined : sum, contributions)
  }

  /** Makes settled cells the recorded ones and writes those that changed. */
  record(state: State): void {
    invariant(this.#pending.size === 0, 'Cells were recorded before their sums were settled.')
    for (const number of [...this.#dirty].sort((a, b) => a - b)) {
      const cell = this.#cells[number]!
      this.#recorded[number] = cell
      this.#tree.set(number, cellDigest(cell))
      state.put(stateKeys.cell(number), encode(storedCell, cell))
    }
    this.#dirty.clear()
  }

  /** The state root as of the last batch record, or undefined if there was no cell. */
  root(): Uint8Array | undefined {
    return this.#tree.root()
  }

  /** A cell as of the last batch record with its path to the state root, or undefined if there is none of this name. */
  prove(namespace: string, key: Uint8Array): CellProof | undefined {
    const number = this.#numbers.get(Cells.#name(namespace, key))
    const cell = number === undefined ? undefined : this.#recorded[number]
    if (cell === undefined) return undefined
    return { cell, cellCount: this.#tree.size, path: this.#tree.path(cell.number) }
  }
}
