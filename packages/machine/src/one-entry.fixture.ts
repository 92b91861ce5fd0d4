/** The example of the README: how a replica takes one committed entry. */
import { entryKinds } from '@cipherlog/format'
import { Ledger, type Leaf, type LedgerOptions, type Proposal, type State } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'

/** The ledger of a state store, or a new one: leaf 0 is the genesis, leaf 1 the batch record that closes it. */
export async function openLedger(state: State, signedGenesis: Uint8Array, options: LedgerOptions): Promise<Ledger> {
  return (await Ledger.open(state, options)) ?? (await Ledger.create(state, signedGenesis, options)).ledger
}

/** Takes one committed entry as a replica does, and returns the leaves that it makes. */
export async function applyEntry(
  ledger: Ledger,
  verifier: ProofVerifier,
  entry: { index: number; logTime: number; kind: number; proposal?: Proposal },
): Promise<Leaf[]> {
  const place = { logIndex: entry.index, logTime: entry.logTime }
  const leaves: Leaf[] = []
  if (entry.proposal !== undefined) {
    const plan = ledger.plan(entry.proposal, place)
    if (plan.outcome === 'accepted') {
      leaves.push(ledger.apply(entry.kind, plan, await verifier.verify(plan.proofs), place))
    } else {
      ledger.skip(place) // refused or a duplicate: no leaf, no state
    }
  }
  if (entry.kind === entryKinds.mark || ledger.batchDue) {
    const closed = await ledger.close(place)
    if (closed !== undefined) leaves.push(closed.leaf)
  }
  return leaves
}
