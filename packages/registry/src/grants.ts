/** Grants: what a client may do, by namespace pattern and operation, until a log time (DESIGN §7). */
import { type Grant } from '@cipherlog/format'

/** Whether a pattern covers a namespace: `orders` itself, `orders/*` everything below it, `*` everything. */
export function covers(pattern: string, namespace: string): boolean {
  if (pattern === '*') return true
  if (pattern.endsWith('/*')) return namespace.startsWith(pattern.slice(0, -1))
  return pattern === namespace
}

/** The first of `grants` that allows the operation at this log time; `notAfter` itself is still in time. */
export function findGrant(
  grants: readonly Grant[],
  namespace: string,
  operation: string,
  logTime: number,
): Grant | undefined {
  return grants.find(
    (grant) =>
      covers(grant.namespaces, namespace) &&
      grant.operations.includes(operation) &&
      (grant.notAfter === undefined || logTime <= grant.notAfter),
  )
}
