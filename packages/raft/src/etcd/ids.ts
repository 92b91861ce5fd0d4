/** etcd's ids, positive integers below 2^32, as peer ids of the core and back; 0 is nobody. */
import { type PeerId } from '../membership.ts'

/** @throws {@link RangeError} if `id` is out of range. */
export function toPeerId(id: number): PeerId {
  if (!Number.isInteger(id) || id < 1 || id >= 2 ** 32)
    throw new RangeError('An id is a whole number from 1, below 2^32')
  return id.toString(16).padStart(32, '0')
}

export function fromPeerId(peer: PeerId | undefined): number {
  return peer === undefined ? 0 : Number.parseInt(peer, 16)
}
