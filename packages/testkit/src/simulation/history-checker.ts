/**
 * What clients did and saw, held against the log that came of it.
 *
 * Every value that is written is unique, so a read says which write it saw; and the log gives the order of all
 * applied writes. Linearizability then needs no search (Gibbons and Korach, "Testing shared memories", 1997: with the
 * order of writes known, one pass suffices). For one key let w1, w2, … be its applied writes in log order, and let
 * the cluster of wi be wi and the reads that saw it (of w0: the reads that saw nothing). Put the clusters in order,
 * in each the write first, then its reads by invocation. That order is legal; it respects real time if and only if
 * - no operation of a later cluster returned before one of an earlier cluster was invoked, and
 * - no read returned before the write that it saw was invoked.
 * Otherwise no order that agrees with the log does. Keys are independent objects, so a history is linearizable if it
 * is for every key (Herlihy and Wing, "Linearizability", 1990, theorem 1).
 *
 * A write without an answer may take effect at any time after its invocation, once, or never.
 */
import { invariant } from '@cipherlog/core'

/** One operation of a client on one key; times are points of one order of events. */
export interface Operation {
  readonly kind: 'write' | 'read'
  readonly client: string
  readonly key: string
  /** The unique value written or seen; undefined: nothing was there. */
  value: string | undefined
  readonly invokedAt: number
  /** Infinity: no answer, or the outcome is unknown. */
  returnedAt: number
}

/** @param order - unique values of the applied writes of `key`, in log order. @throws InvariantViolation */
export function checkRegister(key: string, operations: readonly Operation[], order: readonly string[]): void {
  const placeOf = new Map(order.map((value, at) => [value, at + 1]))
  invariant(placeOf.size === order.length, 'A write was applied twice.', { key })
  const clusters: Operation[][] = Array.from({ length: order.length + 1 }, () => [])
  const writes = new Map<string, Operation>()
  for (const operation of operations) if (operation.kind === 'write') writes.set(operation.value!, operation)
  for (const value of order) invariant(writes.has(value), 'The log holds a write that nobody made.', { key, value })
  for (const operation of operations) {
    const { kind, value, returnedAt } = operation
    if (kind === 'read' && returnedAt === Infinity) continue
    const place = value === undefined ? 0 : placeOf.get(value)
    if (place === undefined) {
      // A write that was never applied must not have been acknowledged or seen.
      invariant(kind === 'write' && returnedAt === Infinity, 'An operation speaks of a value that the log lacks.', {
        ...describe(operation),
      })
      continue
    }
    clusters[place]!.push(operation)
    const write = value === undefined ? undefined : writes.get(value)
    invariant(
      write === undefined || operation.returnedAt >= write.invokedAt,
      'A read saw a value before it was written.',
      { ...describe(operation) },
    )
  }
  // Latest invocation so far, cluster by cluster: nothing later may have returned before it.
  let latest: Operation | undefined
  for (const cluster of clusters) {
    for (const operation of cluster) {
      invariant(
        latest === undefined || operation.returnedAt >= latest.invokedAt,
        'Not linearizable: an operation returned before another began that the log puts before it.',
        { key, returned: describe(operation), began: latest === undefined ? '' : describe(latest) },
      )
    }
    for (const operation of cluster)
      if (latest === undefined || operation.invokedAt > latest.invokedAt) latest = operation
  }
}

function describe({ kind, client, key, value, invokedAt, returnedAt }: Operation) {
  return { kind, client, key, value, invokedAt, returnedAt }
}
