/**
 * Several groups over one connection per peer: frames go to the group that they name.
 *
 * Invariant: a frame of a group that does not run here reaches nobody; it is counted and forgotten.
 */
import { toHex } from '@cipherlog/core'
import { type PeerHeader } from '@cipherlog/format/peer-frame'

/** What belongs to a group, so everything but what keeps the connection. */
export type GroupHeader = Exclude<Extract<PeerHeader, { readonly group: Uint8Array }>, { readonly type: 'notMember' }>

/** One group's end of the connections to its peers. */
export interface GroupEndpoint {
  /** A frame of an authenticated peer. @throws CipherlogError if the peer is at fault: its connection ends. */
  receive(from: string, header: GroupHeader, bodies: Uint8Array): void
  /** Whether frames can be sent to a peer. */
  peerStateChanged(peerId: string, connected: boolean): void
}

export class GroupRouter {
  readonly #groups = new Map<string, GroupEndpoint>()
  readonly #onStrayFrame: (from: string) => void

  /** @param onStrayFrame - a frame named a group that does not run here. */
  constructor(onStrayFrame: (from: string) => void) {
    this.#onStrayFrame = onStrayFrame
  }

  /** @param group - 16 bytes. @returns a function that takes the group out again. */
  add(group: Uint8Array, endpoint: GroupEndpoint): () => void {
    const name = toHex(group)
    this.#groups.set(name, endpoint)
    return () => {
      if (this.#groups.get(name) === endpoint) this.#groups.delete(name)
    }
  }

  receive(from: string, header: GroupHeader, bodies: Uint8Array): void {
    const endpoint = this.#groups.get(toHex(header.group))
    if (endpoint === undefined) this.#onStrayFrame(from)
    else endpoint.receive(from, header, bodies)
  }

  peerStateChanged(peerId: string, connected: boolean): void {
    for (const endpoint of this.#groups.values()) endpoint.peerStateChanged(peerId, connected)
  }
}
