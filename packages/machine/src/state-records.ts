/**
 * What each record of the state is, by its key: a snapshot is taken over from another replica only if it holds
 * nothing else. One row for each kind of key in state-keys.ts.
 */
import { decode, DecodeError, encode, equalBytes, readU64, type Codec } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import {
  keyEnvelope,
  memberAddress,
  storedCell,
  storedClientSessions,
  storedEnvelope,
  storedGenesis,
  storedGroupStart,
  storedKeyEvent,
  storedLedger,
  storedQuarantine,
  storedQuota,
  storedSeen,
  storedSession,
  storedValue,
} from '@cipherlog/format'

interface RecordKind {
  /** Bytes of a key; undefined if keys differ in length. */
  readonly keyBytes: number | undefined
  /** Says what is wrong with a record, if anything. @throws DecodeError. */
  problem(key: Uint8Array, value: Uint8Array): string | undefined
}

function kind<T>(
  keyBytes: number | undefined,
  codec: Codec<T>,
  fits: (value: T, key: Uint8Array) => boolean = () => true,
): RecordKind {
  return {
    keyBytes,
    problem: (key, value) => (fits(decode(codec, value), key) ? undefined : 'stands under the key of another'),
  }
}

const kinds: Readonly<Record<string, RecordKind>> = {
  L: kind(1, storedLedger),
  G: kind(1, storedGenesis),
  r: kind(9, storedKeyEvent),
  g: kind(9, storedGroupStart),
  h: kind(17, storedClientSessions, ({ highWaterMark, open }) => open.every((number) => number <= highWaterMark)),
  s: kind(25, storedSession, ({ number }, key) => number === readU64(key, 17)),
  e: kind(33, storedEnvelope, ({ envelope }, key) =>
    equalBytes(labelledHash(labels.envelopeId, encode(keyEnvelope, envelope)), key.subarray(1)),
  ),
  k: kind(undefined, storedValue),
  c: kind(9, storedCell, ({ number }, key) => number === readU64(key, 1)),
  t: kind(9, storedSeen),
  u: kind(41, storedQuarantine),
  a: kind(17, memberAddress, ({ peerId }, key) => equalBytes(peerId, key.subarray(1))),
  q: kind(17, storedQuota, ({ client }, key) => equalBytes(client, key.subarray(1))),
}

/** What is wrong with a record by itself, or undefined. */
export function recordProblem(key: Uint8Array, value: Uint8Array): string | undefined {
  const known = kinds[String.fromCharCode(key[0]!)]
  if (known === undefined) return 'is of an unknown kind'
  if (known.keyBytes !== undefined && key.length !== known.keyBytes) return 'has a key of another length'
  try {
    return known.problem(key, value)
  } catch (error) {
    if (error instanceof DecodeError) return error.message
    throw error
  }
}
