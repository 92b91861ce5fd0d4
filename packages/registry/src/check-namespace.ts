/** Rules of namespaces: machine, suite, keyset, circuit and bounds fit together, for ever. */
import { toHex } from '@cipherlog/core'
import { suiteNames, suites, type NamespaceDefinition, type Suite } from '@cipherlog/format'
import { checkSameWriters } from './bfv-writers.ts'
import { refuse } from './refusal.ts'
import { type RegistryState } from './registry-state.ts'
import { applicationMachinesSince } from './rules.ts'

/** Which suites each built-in state machine computes on. */
const suitesOfMachine: ReadonlyMap<string, readonly Suite[]> = new Map([
  ['log', [suites.hpkeXwing]],
  ['kv', [suites.hpkeXwing]],
  ['counter', [suites.elgamalBjj]],
  ['tally', [suites.elgamalBjj]],
  ['vector', [suites.bfv2048, suites.bfv4096, suites.bfv8192]],
])

/** Slots N and plain modulus t of the BFV suites (DESIGN §6). */
const bfvParameters: ReadonlyMap<number, { readonly slots: number; readonly t: number }> = new Map([
  [suites.bfv2048, { slots: 2048, t: 268_369_921 }],
  [suites.bfv4096, { slots: 4096, t: 4_294_828_033 }],
  [suites.bfv8192, { slots: 8192, t: 4_294_475_777 }],
])

/**
 * How often the declared bound fits into t: a contribution crafted to leak the key then passes the check of a slot
 * by chance once in 512 tries, and eight failures end the epoch (DESIGN §6).
 */
export const vectorMargin = 1024

export function checkCreateNamespace(state: RegistryState, definition: NamespaceDefinition): void {
  const { name, suite, keyset, circuit, vector } = definition
  if (state.namespaces.has(name)) refuse('ERR_REGISTRY_ID_USED', `The namespace ${name} exists; choose another name.`)
  const keysetEntry = state.keysets.get(toHex(keyset))
  if (keysetEntry === undefined) {
    refuse('ERR_REGISTRY_UNKNOWN', `There is no keyset ${toHex(keyset)}; create it before the namespace.`)
  }
  if (keysetEntry.suite !== suite) {
    refuse(
      'ERR_REGISTRY_NAMESPACE',
      `The keyset is for ${suiteNames[keysetEntry.suite]}, the namespace for ${suiteNames[suite as Suite]}; use one suite.`,
    )
  }
  checkMachine(state.rulesVersion, definition)
  checkCircuit(state, suite, circuit)
  checkVector(suite, vector)
  checkSameWriters(state, definition)
}

/** Whether the rules know the machine, and it works on the suite. An application's own says itself what it takes. */
function checkMachine(rulesVersion: number, { machine, suite, application }: NamespaceDefinition): void {
  const machineSuites = suitesOfMachine.get(machine)
  if (application !== undefined) {
    if (rulesVersion < applicationMachinesSince) {
      refuse(
        'ERR_REGISTRY_NAMESPACE',
        `Rules ${rulesVersion} know built-in machines only; raise the rules to ${applicationMachinesSince} first.`,
      )
    }
    if (machineSuites !== undefined) {
      refuse('ERR_REGISTRY_NAMESPACE', `The machine ${machine} is built in; give the application's own another name.`)
    }
    return
  }
  if (machineSuites === undefined) {
    const known = [...suitesOfMachine.keys()].join(', ')
    refuse('ERR_REGISTRY_NAMESPACE', `The built-in machines are ${known}; use one, or name version and code of yours.`)
  }
  if (!machineSuites.includes(suite as Suite)) {
    const names = machineSuites.map((known) => suiteNames[known]).join(', ')
    refuse('ERR_REGISTRY_NAMESPACE', `The machine ${machine} works on ${names}; choose a keyset of such a suite.`)
  }
}

/** Amounts are proven, nothing else is. */
function checkCircuit({ circuits }: RegistryState, suite: number, circuit: string | undefined): void {
  if (suite !== suites.elgamalBjj) {
    if (circuit !== undefined) refuse('ERR_REGISTRY_NAMESPACE', `Only elgamal-bjj takes a circuit; leave it out.`)
    return
  }
  if (circuit === undefined) refuse('ERR_REGISTRY_NAMESPACE', 'Amounts need a circuit that proves them; name one.')
  if (!circuits.some(({ id }) => id === circuit)) {
    refuse('ERR_REGISTRY_UNKNOWN', `The cluster accepts no circuit ${circuit}; name one that it does.`)
  }
}

/** No sum within the declared bounds wraps around t, with margin. */
function checkVector(suite: number, vector: NamespaceDefinition['vector']): void {
  const parameters = bfvParameters.get(suite)
  if (parameters === undefined) {
    if (vector !== undefined)
      refuse('ERR_REGISTRY_NAMESPACE', 'Only BFV namespaces take vector limits; leave them out.')
    return
  }
  if (vector === undefined) {
    refuse('ERR_REGISTRY_NAMESPACE', 'A vector namespace needs length, maxAbs and maxCount; declare them.')
  }
  const { length, maxAbs, maxCount } = vector
  if (length > parameters.slots) {
    refuse('ERR_REGISTRY_NAMESPACE', `A vector of ${length} is longer than the ${parameters.slots} slots; shorten it.`)
  }
  // Both are below 2^31, so the product may exceed 2^53: divide instead, exactly.
  if (maxCount > Math.floor(Math.floor(parameters.t / vectorMargin) / maxAbs)) {
    refuse(
      'ERR_REGISTRY_NAMESPACE',
      `maxCount × maxAbs × ${vectorMargin} is above t = ${parameters.t}; lower one of them or choose a larger suite.`,
    )
  }
}
