/** Secrets for every slice of a cell: all of them, before any is opened. */
import { type StoredSlice } from '@cipherlog/format'
import { type Keyring } from './keyring.ts'
import { secretOfVersion } from './key-shares.ts'
import { type RegistryView } from './registry-view.ts'

/** @throws CipherlogError `ERR_KEY_MISSING` if the keyring lacks one. */
export async function secretsOfSlices(
  { keyring, view }: { readonly keyring: Keyring; readonly view: RegistryView },
  keyset: Uint8Array,
  slices: readonly StoredSlice[],
  batchLeaf: number,
): Promise<Uint8Array[]> {
  let { registry } = view.current
  const newest = slices.at(-1)?.keyEpoch ?? 0
  // The cell may be newer than the view, and its last key version too.
  if (newest > (registry.keyset(keyset)?.versions.size ?? 0)) registry = (await view.past(batchLeaf)).registry
  const secrets: Uint8Array[] = []
  for (const { keyEpoch } of slices) secrets.push(await secretOfVersion(keyring, registry, keyset, keyEpoch))
  return secrets
}
