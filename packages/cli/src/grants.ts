/** Grants as people write them: `orders/*:put,delete`. */
import { type Grant } from '@cipherlog/format'
import { UsageError } from './exit-codes.ts'

/** Of the built-in state machines, and `envelope`, which every writer of sealed values needs. */
const allOperations = ['envelope', 'put', 'delete', 'append', 'add'] as const

export const everything: Grant = { namespaces: '*', operations: [...allOperations] }

/** @throws UsageError `ERR_USAGE`. Without operations all of them are granted. */
export function parseGrant(text: string): Grant {
  const [pattern, operations, ...rest] = text.split(':')
  if (!/^(\*|[a-z0-9][a-z0-9._/-]*(\/\*)?)$/.test(pattern!) || rest.length > 0 || operations === '') {
    throw new UsageError(
      `${JSON.stringify(text)} is not a grant; write it like orders/*:put,delete, or * for everything.`,
    )
  }
  const chosen = operations?.split(',') ?? [...allOperations]
  const unknown = chosen.find((operation) => !/^[a-z][a-z0-9-]{0,31}$/.test(operation))
  if (unknown !== undefined) throw new UsageError(`${JSON.stringify(unknown)} is not the name of an operation.`)
  // Sealed values are of no use without the envelope of their key.
  const sealed = chosen.some((operation) => ['put', 'delete', 'append'].includes(operation))
  return { namespaces: pattern!, operations: [...new Set(sealed ? ['envelope', ...chosen] : chosen)] }
}

export const formatGrant = ({ namespaces, operations }: Grant): string => `${namespaces}: ${operations.join(', ')}`
