/** What the proven registry says about a namespace, checked before anything is sealed for it. */
import { equalBytes, PolicyError, toHex } from '@cipherlog/core'
import { type KeyVersion, type NamespaceDefinition } from '@cipherlog/format'
import { type ProvenView, type RegistryView } from './registry-view.ts'

/** State machines with a handle of their own. */
export type MachineName = 'kv' | 'log' | 'counter' | 'vector'

export interface ActiveVersion {
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly version: KeyVersion
}

/**
 * The definition of a namespace. One that is not known yet may be new: the registry is proven anew once.
 * @throws PolicyError `ERR_POLICY_NAMESPACE` if there is none, or it is of another machine.
 */
export async function findNamespace(
  view: RegistryView,
  name: string,
  machine: MachineName,
): Promise<{ readonly proven: ProvenView; readonly namespace: NamespaceDefinition }> {
  let proven = await view.fresh()
  if (proven.registry.namespace(name) === undefined) proven = await view.refresh()
  const namespace = proven.registry.namespace(name)
  if (namespace === undefined) {
    throw new PolicyError('ERR_POLICY_NAMESPACE', `The log has no namespace ${name}; have an operator create it.`)
  }
  if (namespace.machine !== machine) {
    throw new PolicyError(
      'ERR_POLICY_NAMESPACE',
      `The namespace ${name} is a ${namespace.machine}, not a ${machine}; use that handle.`,
    )
  }
  return { proven, namespace }
}

/**
 * The key version that new content is sealed to.
 * @throws PolicyError `ERR_POLICY_KEYSET` if none is active or the active one is known to be compromised.
 */
export function activeVersion({ registry, laterEvents }: ProvenView, keyset: Uint8Array): ActiveVersion {
  const keyEpoch = registry.activeEpoch(keyset)
  if (keyEpoch === undefined) {
    throw new PolicyError(
      'ERR_POLICY_KEYSET',
      `The keyset ${toHex(keyset)} has no active version; nothing can be sealed until its readers activate one.`,
    )
  }
  const compromised = laterEvents.compromisedVersions.some(
    (version) => version.keyEpoch === keyEpoch && equalBytes(version.keyset, keyset),
  )
  if (compromised) {
    throw new PolicyError(
      'ERR_POLICY_KEYSET',
      `Version ${keyEpoch} of keyset ${toHex(keyset)} is compromised; nothing is sealed to it. Wait for the next one.`,
    )
  }
  return { keyset, keyEpoch, version: registry.keyset(keyset)!.versions.get(keyEpoch)!.version }
}

/**
 * Checks that the client holds a grant. A new one may not be known yet: the registry is proven anew once.
 * @throws PolicyError `ERR_POLICY_GRANT`.
 */
export async function checkGrant(view: RegistryView, client: Uint8Array, namespace: string, op: string): Promise<void> {
  const holds = ({ registry, batchRecord }: ProvenView) =>
    registry.grantFor(client, namespace, op, batchRecord.logTime) !== undefined
  if (holds(view.current) || holds(await view.refresh())) return
  throw new PolicyError(
    'ERR_POLICY_GRANT',
    `No grant allows this client to ${op} in ${namespace}; ask an operator for one.`,
    { details: { namespace, operation: op } },
  )
}
