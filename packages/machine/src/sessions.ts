/**
 * Client sessions: exactly once, and old bytes never become a fresh session (docs/ARCHITECTURE.md "Sessions").
 *
 * Invariant: `highWaterMark` never falls; every open number ≤ highWaterMark; a session's `digest` is the last
 * thing applied in it (its opening counts as sequence 0).
 */
import { encode, equalBytes, RefusedError, toHex } from '@cipherlog/core'
import { storedClientSessions, storedSession, type StoredSession } from '@cipherlog/format'
import { decodeStored } from './state.ts'
import { stateKeys } from './state-keys.ts'

interface ReadState {
  get(key: Uint8Array): Uint8Array | undefined
}
interface WriteState extends ReadState {
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
}

/** What the log already holds for a proposal: its first answer. */
export interface StoredAnswer {
  readonly leaf: number
  readonly digest: Uint8Array
  readonly verdicts: readonly number[]
}

export function clientSessions(state: ReadState, client: Uint8Array): { highWaterMark: number; open: number[] } {
  const bytes = state.get(stateKeys.clientSessions(client))
  return bytes === undefined ? { highWaterMark: 0, open: [] } : decodeStored(storedClientSessions, bytes)
}

export function session(state: ReadState, client: Uint8Array, number: number): StoredSession | undefined {
  const bytes = state.get(stateKeys.session(client, number))
  return bytes === undefined ? undefined : decodeStored(storedSession, bytes)
}

/**
 * Where an opening stands: undefined if it is new, else the stored answer. Whatever else became of its number (other
 * bytes opened it, bundles have followed, it was evicted, its opening was rejected and opened nothing), the client's
 * next step is the same, so there is one error.
 * @throws RefusedError `ERR_SESSION_EXPIRED`
 */
export function checkOpening(
  state: ReadState,
  client: Uint8Array,
  number: number,
  digest: Uint8Array,
): StoredAnswer | undefined {
  const { highWaterMark } = clientSessions(state, client)
  if (number > highWaterMark) return undefined
  const open = session(state, client, number)
  if (open !== undefined && equalBytes(open.digest, digest)) return answerOf(open)
  throw new RefusedError(
    'ERR_SESSION_EXPIRED',
    `Session number ${number} is used up; open a session with one above ${highWaterMark}.`,
    { details: { client: toHex(client), session: number, highWaterMark } },
  )
}

/**
 * Where a bundle stands in its session: undefined if it is next, else the stored answer.
 * @throws RefusedError `ERR_SESSION_UNKNOWN`, `ERR_SESSION_EXPIRED`, `ERR_SEQUENCE_CONFLICT`,
 * `ERR_SEQUENCE_PAST`, `ERR_SEQUENCE_GAP`
 */
export function checkSequence(
  state: ReadState,
  client: Uint8Array,
  number: number,
  firstSequence: number,
  digest: Uint8Array,
): StoredAnswer | undefined {
  const open = session(state, client, number)
  if (open === undefined) {
    if (number > clientSessions(state, client).highWaterMark) {
      throw new RefusedError('ERR_SESSION_UNKNOWN', `Session ${number} was never opened; open it first.`, {
        details: { session: number },
      })
    }
    throw new RefusedError(
      'ERR_SESSION_EXPIRED',
      `Session ${number} is no longer open; open a new one with a higher number.`,
      { details: { client: toHex(client), session: number } },
    )
  }
  const details = { session: number, firstSequence, lastSequence: open.lastSequence }
  if (firstSequence === open.lastSequence + 1) return undefined
  if (equalBytes(open.digest, digest)) return answerOf(open)
  if (firstSequence === open.firstSequence) {
    throw new RefusedError(
      'ERR_SEQUENCE_CONFLICT',
      `Sequence ${firstSequence} was used by another bundle; a retry must resend the same bytes.`,
      { details },
    )
  }
  if (firstSequence <= open.lastSequence) {
    throw new RefusedError(
      'ERR_SEQUENCE_PAST',
      `Sequence ${firstSequence} lies before the session's last bundle; its answer is in the trail.`,
      { details },
    )
  }
  throw new RefusedError(
    'ERR_SEQUENCE_GAP',
    `Sequence ${firstSequence} leaves a gap; the next one is ${open.lastSequence + 1}.`,
    { details },
  )
}

function answerOf({ leaf, digest, verdicts }: StoredSession): StoredAnswer {
  return { leaf, digest, verdicts }
}

/** Records an opening: the number is used up; `opened` false (its verdict was a rejection) opens nothing. */
export function recordOpening(
  state: WriteState,
  client: Uint8Array,
  number: number,
  answer: StoredAnswer,
  opened: boolean,
  sessionsPerClientMax: number,
): void {
  const { open } = clientSessions(state, client)
  if (opened) {
    state.put(
      stateKeys.session(client, number),
      encode(storedSession, { number, firstSequence: 0, lastSequence: 0, ...answer, verdicts: [...answer.verdicts] }),
    )
    open.push(number)
    if (open.length > sessionsPerClientMax) {
      // The session whose last bundle is oldest goes; leaves are in log order, so the least leaf is the oldest.
      const oldest = open
        .map((candidate) => ({ candidate, leaf: session(state, client, candidate)!.leaf }))
        .reduce((a, b) => (b.leaf < a.leaf ? b : a)).candidate
      state.delete(stateKeys.session(client, oldest))
      open.splice(open.indexOf(oldest), 1)
    }
  }
  state.put(stateKeys.clientSessions(client), encode(storedClientSessions, { highWaterMark: number, open }))
}

/** Records a bundle as its session's last. */
export function recordBundle(
  state: WriteState,
  client: Uint8Array,
  number: number,
  firstSequence: number,
  count: number,
  answer: StoredAnswer,
): void {
  state.put(
    stateKeys.session(client, number),
    encode(storedSession, {
      number,
      firstSequence,
      lastSequence: firstSequence + count - 1,
      leaf: answer.leaf,
      digest: answer.digest,
      verdicts: [...answer.verdicts],
    }),
  )
}
