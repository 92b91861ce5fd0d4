/**
 * The names that logs and replicas sign under: an origin and, per replica, a cosigner name.
 *
 * Invariant: an origin belongs to one cluster, group and generation for ever, so trust keyed by it never moves.
 */
import { toHex } from '@cipherlog/core'
import { formatDecimal } from './decimal.ts'

/** Bytes of a cluster's name. */
export const clusterNameBytesMax = 128

/** Whether this can be a cluster's name: `[a-z0-9.-]+(/[a-z0-9.-]+)*`, at most 128 bytes. */
export function isClusterName(name: string): boolean {
  return name.length <= clusterNameBytesMax && /^[a-z0-9.-]+(?:\/[a-z0-9.-]+)*$/.test(name)
}

/** The origin line of a group's checkpoints: `<name>/<first 16 hex of cluster>/<group, 32 hex>/<generation>`. */
export function origin(log: {
  readonly name: string
  /** SHA-256 of the genesis, 32 bytes. */
  readonly cluster: Uint8Array
  /** Group id, 16 bytes. */
  readonly group: Uint8Array
  /** From 0. */
  readonly generation: number
}): string {
  if (log.cluster.length !== 32) throw new RangeError(`a cluster id is 32 bytes, not ${log.cluster.length}`)
  if (log.group.length !== 16) throw new RangeError(`a group id is 16 bytes, not ${log.group.length}`)
  const cluster = toHex(log.cluster.subarray(0, 8))
  return `${checkedName(log.name)}/${cluster}/${toHex(log.group)}/${formatDecimal(log.generation)}`
}

/** A replica's cosigner name, `<name>/replica/<peer id>`. @param peerIdHex - 32 lowercase hex digits. */
export function cosignerName(clusterName: string, peerIdHex: string): string {
  if (!/^[0-9a-f]{32}$/.test(peerIdHex)) throw new RangeError('a peer id is 32 lowercase hex digits')
  return `${checkedName(clusterName)}/replica/${peerIdHex}`
}

function checkedName(name: string): string {
  if (!isClusterName(name)) throw new RangeError(`${JSON.stringify(name)} cannot name a cluster`)
  return name
}
