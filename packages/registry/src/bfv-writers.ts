/**
 * One BFV keyset per trust domain (DESIGN §6 "BFV trusts its writers"): a writer of one namespace could learn the
 * secret key, so namespaces that share a keyset must have the same writers.
 *
 * Checked as: every grant covers all namespaces of a BFV keyset or none. That is stricter than needed (grants for
 * reading count too) and depends on nothing but the registry. Whether the writers trust each other, nobody can check.
 */
import { equalBytes, toHex } from '@cipherlog/core'
import { type Grant, type NamespaceDefinition, suites } from '@cipherlog/format'
import { covers } from './grants.ts'
import { refuse } from './refusal.ts'
import { type RegistryState } from './registry-state.ts'

/** Whether a suite's contributions can attack the reader's key. */
export function isBfv(suite: number): boolean {
  return suite === suites.bfv2048 || suite === suites.bfv4096 || suite === suites.bfv8192
}

/** @throws {@link RefusedError} `ERR_REGISTRY_WRITERS` if a grant splits the namespaces of a BFV keyset. */
export function checkGrantsKeepWritersTogether(state: RegistryState, grants: readonly Grant[]): void {
  const namesByKeyset = new Map<string, string[]>()
  for (const { name, suite, keyset } of state.namespaces.values()) {
    if (!isBfv(suite)) continue
    const names = namesByKeyset.get(toHex(keyset)) ?? []
    namesByKeyset.set(toHex(keyset), [...names, name])
  }
  for (const { namespaces } of grants) {
    for (const names of namesByKeyset.values()) {
      const covered = names.filter((name) => covers(namespaces, name))
      if (covered.length > 0 && covered.length < names.length) {
        refuse(
          'ERR_REGISTRY_WRITERS',
          `The grant for ${namespaces} covers ${covered[0]} but not every namespace of its keyset (${names.join(', ')}); grant all of them or none.`,
        )
      }
    }
  }
}

/** @throws {@link RefusedError} `ERR_REGISTRY_WRITERS` if a new namespace would have other writers than its keyset's others. */
export function checkSameWriters(state: RegistryState, { name, suite, keyset }: NamespaceDefinition): void {
  if (!isBfv(suite)) return
  const other = [...state.namespaces.values()].find((namespace) => equalBytes(namespace.keyset, keyset))
  if (other === undefined) return
  for (const { id, grants, revoked } of state.clients.values()) {
    if (revoked !== undefined) continue
    if (grants.some(({ namespaces }) => covers(namespaces, name) !== covers(namespaces, other.name))) {
      refuse(
        'ERR_REGISTRY_WRITERS',
        `The client ${toHex(id)} may use only one of ${other.name} and ${name}, which would share a keyset; create a keyset for ${name}.`,
      )
    }
  }
}
