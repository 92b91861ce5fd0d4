/**
 * A ledger on a state that came with a snapshot. A majority has confirmed the manifest's digest, but whoever took the
 * snapshot may have been faulty, or the one who asks for it misled: what can be checked is checked, before the state
 * is put in force.
 *
 * Checked: every record by itself, open sessions against their clients', all signatures of key events and their head
 * against the batch record, every cell against the state root, and the tree against the manifest's root. Not
 * covered by any root, and so the majority's word: kv values, envelopes, answers of sessions, quotas, older rows of `seen`.
 */
import { CipherlogError, decode, equalBytes, readU64, toHex, VerificationError } from '@cipherlog/core'
import { stateRootAlgorithm, storedClientSessions, storedSeen, type OpenedSnapshotManifest } from '@cipherlog/format'
import { Ledger, type LedgerOptions } from './ledger.ts'
import { stateKeys } from './state-keys.ts'
import { recordProblem } from './state-records.ts'
import { type State } from './state.ts'

/** They say what this software lacks, or that its disk fails; nothing about the snapshot. */
const otherFaults: ReadonlySet<string> = new Set([
  'ERR_RULES_UNKNOWN',
  'ERR_MACHINE_UNKNOWN',
  'ERR_STORAGE_FAILED',
  'ERR_STORAGE_CLOSED',
])

/**
 * The ledger of an installed snapshot.
 * @param state - the snapshot's pairs without its trail edge, and nothing else.
 * @throws VerificationError `ERR_SNAPSHOT_STATE` if they are not a state of that batch record: discard the snapshot.
 * @throws CipherlogError `ERR_RULES_UNKNOWN`, `ERR_MACHINE_UNKNOWN`: install newer software.
 */
export async function openSnapshot(
  state: State,
  snapshot: OpenedSnapshotManifest,
  options: LedgerOptions,
): Promise<Ledger> {
  await checkRecords(state)
  let ledger: Ledger | undefined
  try {
    ledger = await Ledger.open(state, options)
    if (ledger === undefined) throw refused('lacks the record of its ledger')
    checkAgainst(ledger, state, snapshot)
    return ledger
  } catch (error) {
    if (error instanceof RangeError) throw refused(error.message, error)
    if (!(error instanceof CipherlogError) || otherFaults.has(error.code)) throw error
    if (error.code === 'ERR_SNAPSHOT_STATE') throw error
    throw refused(error.message, error)
  }
}

/** Every record by itself, and that each open session is there: one lost would be a command applied twice. */
async function checkRecords(state: State): Promise<void> {
  /** Open sessions, by client, whose record has not come yet; the clients' records come first. */
  const open = new Map<string, Set<number>>()
  for await (const [key, value] of state.iterate(new Uint8Array(0))) {
    const problem = recordProblem(key, value)
    if (problem !== undefined) throw refused(`has a bad record ${toHex(key.subarray(0, 64))}: ${problem}`)
    const client = toHex(key.subarray(1, 17))
    if (key[0] === 0x68) open.set(client, new Set(decode(storedClientSessions, value).open))
    if (key[0] === 0x73 && open.get(client)?.delete(readU64(key, 17)) !== true) {
      throw refused(`has a session of client ${client} that is not open`)
    }
  }
  for (const [client, { size }] of open) if (size > 0) throw refused(`lacks an open session of client ${client}`)
}

function checkAgainst(ledger: Ledger, state: State, { manifest, record }: OpenedSnapshotManifest): void {
  const { registry } = ledger
  const seen = state.get(stateKeys.seen(manifest.treeSize))
  const facts: readonly (readonly [what: string, holds: boolean])[] = [
    ['cluster', equalBytes(registry.cluster, manifest.cluster)],
    ['group', equalBytes(ledger.group, manifest.group)],
    ['generation', ledger.generation === manifest.generation],
    ['tree size', ledger.treeSize === manifest.treeSize],
    ['root', equalBytes(ledger.newestBatch(manifest.batchRecord).rootHash, manifest.rootHash)],
    ['rules', registry.rulesVersion === record.rulesVersion],
    ['kind of state root', (record.stateRoot?.[0] ?? stateRootAlgorithm) === stateRootAlgorithm],
    ['newest checkpoint', seen !== undefined && equalBytes(decode(storedSeen, seen).rootHash, manifest.rootHash)],
    // A set's event and its transition size stand in one batch, so none is pending at a batch record.
    ['cosigner transition', !registry.transitionPending],
  ]
  const wrong = facts.find(([, holds]) => !holds)
  if (wrong !== undefined) throw refused(`has another ${wrong[0]} than its manifest`)
}

function refused(reason: string, cause?: unknown): VerificationError {
  return new VerificationError(
    'ERR_SNAPSHOT_STATE',
    `The snapshot's state is not the one that its manifest names: it ${reason}. Discard it and fetch another one.`,
    { cause, details: { reason } },
  )
}
