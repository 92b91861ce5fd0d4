/**
 * A state across generations (docs/ARCHITECTURE.md "Generations"): what ends with one, and how the registry is folded
 * again from key events of several.
 */
import { decode, invariant, VerificationError, encode } from '@cipherlog/core'
import {
  formatVersion,
  group0,
  policyChain as policyChainCodec,
  storedClientSessions,
  storedGroupStart,
  storedKeyEvent,
  type PolicyChainLink,
  type StoredGroupStart,
} from '@cipherlog/format'
import { openGroupStart, openPolicyChain, type Registry } from '@cipherlog/registry'
import { statePrefixes } from './state-keys.ts'
import { decodeStored, type State } from './state.ts'

/** Folds the stored key events into a registry that holds the genesis only, each generation's after its start. */
export async function replayKeyEvents(state: State, registry: Registry): Promise<void> {
  const starts: StoredGroupStart[] = []
  for await (const [, value] of state.iterate(statePrefixes.groupStarts)) {
    starts.push(decodeStored(storedGroupStart, value))
  }
  const startUpTo = (generation: number): void => {
    for (let next = starts[0]; next !== undefined; next = starts[0]) {
      const opened = openGroupStart(next.signed)
      if (opened.start.generation > generation) return
      registry.startGeneration(opened, next.links)
      starts.shift()
    }
  }
  for await (const [, value] of state.iterate(statePrefixes.keyEvents)) {
    const { signed, leafIndex, logTime, transitionSize, generation = 0 } = decodeStored(storedKeyEvent, value)
    startUpTo(generation)
    // Decided when it was applied; the state store holds nothing that was refused.
    const checked = registry.check(signed, { logTime, knowsSeen: () => true })
    invariant(checked.kind === 'new', 'The state store repeats a key event.')
    registry.apply(checked, { leafIndex, logTime })
    if (transitionSize !== undefined) registry.noteTransition(transitionSize)
  }
  startUpTo(Number.MAX_SAFE_INTEGER)
}

/**
 * Ends what belongs to one generation: sessions, whose highest number of each client is never forgotten; who has seen
 * which checkpoint; what was set aside in its log; where its replicas were.
 */
export async function endGeneration(state: State): Promise<void> {
  const { sessions, seen, quarantines, memberAddresses } = statePrefixes
  for (const prefix of [sessions, seen, quarantines, memberAddresses]) {
    await clear(state, prefix)
  }
  for (const [key, value] of await pairs(state, statePrefixes.clientSessions)) {
    const { highWaterMark } = decodeStored(storedClientSessions, value)
    state.put(key, encode(storedClientSessions, { highWaterMark, open: [] }))
  }
}

async function clear(state: State, prefix: Uint8Array): Promise<void> {
  for (const [key] of await pairs(state, prefix)) state.delete(key)
}

async function pairs(state: State, prefix: Uint8Array): Promise<[Uint8Array, Uint8Array][]> {
  const found: [Uint8Array, Uint8Array][] = []
  for await (const pair of state.iterate(prefix)) found.push(pair)
  return found
}

/**
 * The links of a policy chain that leads to this registry's newest cosigner set.
 * @throws as `openPolicyChain`; VerificationError `ERR_VERIFY_POLICY_CHAIN` if it leads elsewhere.
 */
export function linksOf(bytes: Uint8Array, registry: Registry): PolicyChainLink[] {
  const { cluster, cosignerSets } = registry
  const policy = openPolicyChain(bytes, {
    version: formatVersion,
    cluster,
    group: group0,
    generation: registry.generation,
    witnesses: [],
    witnessesRequired: 0,
  })
  const same =
    policy.cosignerSets.length === cosignerSets.length &&
    policy.cosignerSets.every(({ generation, eventNumber, eventLeaf, transitionSize }, i) => {
      const own = cosignerSets[i]!
      return (
        own.generation === generation &&
        own.eventNumber === eventNumber &&
        own.eventLeaf === eventLeaf &&
        own.transitionSize === transitionSize
      )
    })
  if (!same) {
    throw new VerificationError(
      'ERR_VERIFY_POLICY_CHAIN',
      'The policy chain has other cosigner sets than the log; take the one that was published beside its checkpoint.',
    )
  }
  return decode(policyChainCodec, bytes)[1]
}
