/**
 * Rules have a number (docs/ARCHITECTURE.md "Rules have a number"): it decides what a log allows, and code selects by
 * it. The genesis fixes the first, the key operation `setRules` raises it; old numbers keep their meaning for ever.
 *
 * | rules | allow |
 * | --- | --- |
 * | 1 | namespaces of built-in state machines |
 * | 2 | also namespaces of an application's own state machine, named by version and code hash |
 *
 * Circuits come with the rules: accepted are those of the genesis and of every `setRules` since.
 */
import { CipherlogError, equalBytes } from '@cipherlog/core'
import { modes, type Circuit, type Genesis, type KeyOperation } from '@cipherlog/format'
import { refuse } from './refusal.ts'

/** The newest rules that this software knows; it knows all before. */
export const rulesVersionMax = 2

/** First rules under which a namespace may name an application's own state machine. */
export const applicationMachinesSince = 2

/** Whether this software knows rules. */
export function knowsRules(rulesVersion: number): boolean {
  return rulesVersion >= 1 && rulesVersion <= rulesVersionMax
}

/**
 * A log that this software must not touch: not a fault of the log, and no refusal.
 * @param what - such as `The next key event asks for rules 3`.
 */
export function unknownRules(what: string, rulesVersion: number): CipherlogError {
  return new CipherlogError(
    'ERR_RULES_UNKNOWN',
    `${what}, this software knows rules ${rulesVersionMax} and older; install a version that knows rules ${rulesVersion}.`,
    { details: { rulesVersion, rulesVersionMax } },
  )
}

/**
 * @throws {@link CipherlogError} `ERR_RULES_UNKNOWN` if this software cannot go on under the event's rules.
 * @throws {@link RefusedError} `ERR_REGISTRY_RULES`.
 */
export function checkSetRules(
  state: { readonly genesis: Genesis; readonly rulesVersion: number; readonly circuits: readonly Circuit[] },
  { rulesVersion, circuits = [] }: Extract<KeyOperation, { type: 'setRules' }>,
): void {
  if (rulesVersion < state.rulesVersion) {
    refuse('ERR_REGISTRY_RULES', `Rules ${state.rulesVersion} are in force and never go back; name those or newer.`)
  }
  if (rulesVersion === state.rulesVersion && circuits.length === 0) {
    refuse('ERR_REGISTRY_RULES', `Rules ${rulesVersion} are in force already; the event changes nothing.`)
  }
  const problem = problemOfCircuits(state.genesis.mode, circuits, state.circuits)
  if (problem !== undefined) refuse('ERR_REGISTRY_RULES', problem.message)
  if (!knowsRules(rulesVersion)) throw unknownRules(`The key event asks for rules ${rulesVersion}`, rulesVersion)
}

/** What is wrong with circuits that are to be accepted beside others: listed twice, or without a ceremony. */
export function problemOfCircuits(
  mode: Genesis['mode'],
  circuits: readonly Circuit[],
  accepted: readonly Circuit[] = [],
): { readonly kind: 'twice' | 'ceremony'; readonly message: string } | undefined {
  const all = [...accepted]
  for (const circuit of circuits) {
    const { id, verificationKey, ceremony } = circuit
    if (all.some((other) => other.id === id || equalBytes(other.verificationKey, verificationKey))) {
      return { kind: 'twice', message: `The circuit ${id} or its key is listed twice; list each once.` }
    }
    if (mode === modes.production && ceremony === undefined) {
      return {
        kind: 'ceremony',
        message: `The keys of circuit ${id} are for development: whoever made them can forge proofs. Run a ceremony, or set the mode to development.`,
      }
    }
    all.push(circuit)
  }
  return undefined
}
