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
  readonly #signedGenesis: Uint8Array
  /** By leaf, the signed event and the size that must end its batch; taken out when its batch has ended. */
  readonly #links: Map<number, { readonly event: Uint8Array; readonly transitionSize: number }>
  readonly #waiting = new Map<number, number>()

  constructor({ signedGenesis, links, policy }: TrustedTree, remarks: Remarks) {
    this.#remarks = remarks
    this.#signedGenesis = signedGenesis
    this.#links = new Map(
      links.map(({ leafIndex, event }, i) => [
        leafIndex,
        { event, transitionSize: policy.cosignerSets[i + 1]!.transitionSize! },
      ]),
    )
  }

  /** Looks at a leaf; they come in order, none left out. */
  see(leaf: number, kind: number, signed: Uint8Array): void {
    const link = this.#links.get(leaf)
    if (leaf === 0 && !equalBytes(signed, this.#signedGenesis)) {
      this.#problem(leaf, 'This leaf is another genesis than that of the policy chain.')
    }
    if (link !== undefined && (kind !== leafKinds.keyEvent || !equalBytes(signed, link.event))) {
      this.#problem(leaf, 'The policy chain has another event here than this leaf.')
    } else if (link !== undefined) {
      this.#waiting.set(leaf, link.transitionSize)
    } else if (kind === leafKinds.keyEvent && setsCosigners(signed)) {
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
