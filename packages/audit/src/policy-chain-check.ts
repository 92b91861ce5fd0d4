/**
 * Whether the policy chain says of the cosigners what the log says: each link stands at its leaf, none is left out,
 * and each transition size ends the first batch behind its event. The chain alone cannot show that (DESIGN §4).
 */
import { CipherlogError, equalBytes } from '@cipherlog/core'
import { leafKinds } from '@cipherlog/format'
import { decodeKeyEvent } from '@cipherlog/registry'
import { type TrustedTree } from './checkpoints.ts'
import { type Remarks } from './report.ts'

export class PolicyChainCheck {
  readonly #remarks: Remarks
  /** Leaf 0: the genesis, or the group start of a later generation. */
  readonly #first: Uint8Array
  /** By leaf, the signed event and the size that must end its batch; taken out when its batch has ended. */
  readonly #links: Map<number, { readonly event: Uint8Array; readonly transitionSize: number }>
  readonly #waiting = new Map<number, number>()

  constructor({ signedGenesis, links, policy }: TrustedTree, remarks: Remarks) {
    this.#remarks = remarks
    this.#first = policy.groupStarts.at(-1)?.signed ?? signedGenesis
    this.#links = new Map(
      links.flatMap(({ leafIndex, event }, i) => {
        const { generation, transitionSize } = policy.cosignerSets[i + 1]!
        // Links of older generations stand in other trails, a group start is leaf 0.
        if (generation !== policy.generation || transitionSize === undefined) return []
        return [[leafIndex, { event, transitionSize }] as const]
      }),
    )
  }

  /** Looks at a leaf; they come in order, none left out. @param setAside - its record says that it had no effect. */
  see(leaf: number, kind: number, signed: Uint8Array, setAside: boolean): void {
    const link = this.#links.get(leaf)
    if (leaf === 0 && !equalBytes(signed, this.#first)) {
      this.#problem(leaf, 'This leaf is another genesis or group start than that of the policy chain.')
    }
    if (link !== undefined && (kind !== leafKinds.keyEvent || !equalBytes(signed, link.event))) {
      this.#problem(leaf, 'The policy chain has another event here than this leaf.')
    } else if (link !== undefined) {
      this.#waiting.set(leaf, link.transitionSize)
    } else if (kind === leafKinds.keyEvent && !setAside && setsCosigners(signed)) {
      this.#problem(leaf, 'The policy chain leaves out this change of cosigners.')
    }
    if (kind !== leafKinds.batchRecord) return
    for (const [event, size] of this.#waiting) {
      if (size !== leaf + 1) {
        this.#problem(event, `Its batch ends at size ${leaf + 1}, the transition checkpoint has size ${size}.`)
      }
    }
    this.#waiting.clear()
  }

  /** After the last leaf. */
  finish(size: number): void {
    for (const leaf of this.#links.keys()) {
      if (leaf < size) continue
      const message = `The policy chain names leaf ${leaf}, the checkpoint covers ${size} leaves yet.`
      this.#remarks.finding('beyond the checkpoint', 'policy-chain', message)
    }
  }

  #problem(leaf: number, message: string): void {
    this.#remarks.problem('ERR_AUDIT_POLICY_CHAIN', `leaf ${leaf}`, message)
  }
}

function setsCosigners(signed: Uint8Array): boolean {
  try {
    return decodeKeyEvent(signed).event.operation.type === 'cosignerSet'
  } catch (error) {
    // No key event at all: the check of the leaf says so.
    if (error instanceof CipherlogError) return false
    throw error
  }
}
