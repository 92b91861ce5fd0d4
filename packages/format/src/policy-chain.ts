/**
 * Policy chain: genesis, then every group start and every key event that changes operators or cosigner sets, with its
 * place in the tree; from it a verifier derives whose signatures a checkpoint of a given size needs.
 */
import { array, bytes, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import { keyEventBytesMax } from './key-event.ts'

export const policyChainLink = record(
  'policy-chain-link',
  {
    /** The signed key event, or the signed group start, which has no transition checkpoint. */
    event: [1, bytes(1, keyEventBytesMax + 4096)],
    origin: [2, text(256)],
    leafIndex: [3, uint()],
  },
  /** For a cosigner set: the checkpoint of its transition size, under both sets. */
  { transitionCheckpoint: [4, text(65_536)] },
)
export type PolicyChainLink = TypeOf<typeof policyChainLink>

/** [signed genesis, links]. */
export const policyChain = tuple(bytes(1, 270_000), array(policyChainLink, 256))
export type PolicyChain = TypeOf<typeof policyChain>
