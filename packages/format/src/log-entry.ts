/**
 * Payloads of Raft log entries. Kind, term, index and log time stand in the WAL record's header, never in the
 * payload: a retry must have the same bytes.
 */
import { bytes, enumeration, record, tuple, type TypeOf } from '@cipherlog/core'
import { bodiesBytesMax } from './command-bundle.ts'

/** Kinds 1 to 4: [the signed CBOR array, bodies]; bodies are empty for all but command bundles. */
export const logEntry = tuple(bytes(1, 1_048_576 + 4096), bytes(0, bodiesBytesMax))
export type LogEntry = TypeOf<typeof logEntry>

/** Largest payload of an entry. */
export const logEntryBytesMax = 1_048_576 + 4096 + bodiesBytesMax + 16

/** Why a batch was closed; information only, the position decides. */
export const markReasons = { receipt: 1, interval: 2 } as const

/** Kind 33: closes the batch. It makes no claim about size or root. */
export const mark = record('mark', { reason: [1, enumeration(markReasons)] })
