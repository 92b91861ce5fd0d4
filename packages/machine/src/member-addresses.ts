/**
 * Where members of the group can be reached, as membership entries of the log say: part of the state, so that a
 * snapshot brings it and compaction does not lose it. No leaf and no root says it: it is no ground for trust.
 */
import { decode, encode, fromHex, toHex } from '@cipherlog/core'
import { memberAddress, type NamedAddress } from '@cipherlog/format'
import { type State } from './state.ts'
import { stateKeys, statePrefixes } from './state-keys.ts'

/** The newest address of a peer wins. */
export function putMemberAddresses(state: Pick<State, 'put'>, addresses: readonly NamedAddress[]): void {
  for (const address of addresses) {
    const peerId = fromHex(address.peerId)
    state.put(stateKeys.memberAddress(peerId), encode(memberAddress, { ...address, peerId }))
  }
}

export async function readMemberAddresses(state: Pick<State, 'iterate'>): Promise<NamedAddress[]> {
  const addresses: NamedAddress[] = []
  for await (const [, value] of state.iterate(statePrefixes.memberAddresses)) {
    const address = decode(memberAddress, value)
    addresses.push({ ...address, peerId: toHex(address.peerId) })
  }
  return addresses
}
