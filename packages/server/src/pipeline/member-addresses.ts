/**
 * Where members of the group can be reached, as membership entries of the log say: part of the state, so that a
 * snapshot brings it and compaction does not lose it.
 */
import { concatBytes, decode, encode, fromHex, toHex, utf8 } from '@cipherlog/core'
import { memberAddress, type NamedAddress } from '@cipherlog/format'
import { type StateStore } from '@cipherlog/storage'

/** Followed by the peer id; no key of the ledger begins with this letter. */
const prefix = utf8('a')

/** The newest address of a peer wins. */
export function putAddresses(state: Pick<StateStore, 'put'>, addresses: readonly NamedAddress[]): void {
  for (const address of addresses) {
    const peerId = fromHex(address.peerId)
    state.put(concatBytes(prefix, peerId), encode(memberAddress, { ...address, peerId }))
  }
}

export async function readAddresses(state: Pick<StateStore, 'iterate'>): Promise<NamedAddress[]> {
  const addresses: NamedAddress[] = []
  for await (const [, value] of state.iterate(prefix)) {
    const address = decode(memberAddress, value)
    addresses.push({ ...address, peerId: toHex(address.peerId) })
  }
  return addresses
}
