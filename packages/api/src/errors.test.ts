import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  CipherlogError,
  DecodeError,
  InvariantViolation,
  NotLeaderError,
  PolicyError,
  ProposalOutcomeUnknownError,
  RefusedError,
  VerificationError,
} from '@cipherlog/core'
import { Code, ConnectError } from '@connectrpc/connect'
import { describe, expect, it } from 'vitest'
import { fromConnectError, fromErrorDetail, toConnectError, toErrorDetail } from './errors.ts'
import { ErrorDetailSchema } from './index.ts'

/** What a client makes of an error that a handler threw, through the encoding on the wire. */
function overTheWire(error: unknown): CipherlogError {
  const sent = toConnectError(error)
  const received = new ConnectError(sent.rawMessage, sent.code)
  const bytes = toBinary(ErrorDetailSchema, sent.findDetails(ErrorDetailSchema)[0]!)
  received.details = [{ type: ErrorDetailSchema.typeName, value: bytes }]
  return fromConnectError(received)
}

describe('errors on the wire', () => {
  it('keep code, message, details and the class a caller decides by', () => {
    const cases: readonly (readonly [CipherlogError, new (...args: never[]) => CipherlogError, Code])[] = [
      [new DecodeError('ERR_DECODE_VALUE', 'Bad.', { details: { path: 'a' } }), DecodeError, Code.InvalidArgument],
      [new VerificationError('ERR_VERIFY_X', 'No.', { details: {} }), VerificationError, Code.FailedPrecondition],
      [new PolicyError('ERR_KEY_UNPROVEN', 'Old.', { details: {} }), PolicyError, Code.FailedPrecondition],
      [
        new RefusedError('ERR_SEQUENCE_CONFLICT', 'Other bytes.', { details: { expected: '7' } }),
        RefusedError,
        Code.FailedPrecondition,
      ],
      [new RefusedError('ERR_SOMETHING_NEW', 'Fix it.', { details: {} }), RefusedError, Code.FailedPrecondition],
      [new NotLeaderError('00ff'), NotLeaderError, Code.Unavailable],
      [new ProposalOutcomeUnknownError(), ProposalOutcomeUnknownError, Code.Aborted],
      [new CipherlogError('ERR_NOT_FOUND', 'None.', { details: {} }), CipherlogError, Code.NotFound],
      [
        new CipherlogError('ERR_TRAIL_NOT_HERE', 'Ask another.', { details: { trailFrom: '256' } }),
        CipherlogError,
        Code.Unavailable,
      ],
    ]
    for (const [error, errorClass, connectCode] of cases) {
      const received = overTheWire(error)
      expect(received).toBeInstanceOf(errorClass)
      expect({ code: received.code, message: received.message, details: received.details }).toEqual({
        code: error.code,
        message: error.message,
        details: error.details,
      })
      expect(toConnectError(error).code).toBe(connectCode)
    }
  })

  it('carry details as text and retry-after as a number and a header', () => {
    const busy = new RefusedError('ERR_BUSY', 'Later.', {
      details: { retryAfterMs: 1200, queued: 5, digest: new Uint8Array([1, 255]), list: [new Uint8Array([2]), 3n] },
    })
    expect(overTheWire(busy).details).toEqual({ retryAfterMs: 1200, queued: '5', digest: '01ff', list: '["02","3"]' })
    expect(toConnectError(busy).metadata.get('retry-after')).toBe('2')
  })

  it('say nothing of what is internal: unknown errors, invariants and codes that are not for clients', () => {
    const secret = 'seed 0123 in /var/lib/node'
    for (const error of [
      new Error(secret),
      secret,
      undefined,
      new InvariantViolation(secret, { secret }),
      new CipherlogError('ERR_STORAGE_IO', secret, { details: { path: secret } }),
    ]) {
      const sent = toConnectError(error)
      expect(sent.code).toBe(Code.Internal)
      expect(JSON.stringify([sent.message, sent.findDetails(ErrorDetailSchema)[0]?.message])).not.toContain(secret)
      expect(JSON.stringify(overTheWire(error).details)).not.toContain(secret)
    }
    expect(overTheWire(new Error(secret)).code).toBe('ERR_INTERNAL')
    expect(overTheWire(new InvariantViolation(secret)).code).toBe('ERR_INVARIANT')
  })

  it('from a server are only its word: bad codes are replaced, long texts cut, many details dropped', () => {
    const details = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`d${i}`, 'x'.repeat(5000)]))
    const error = fromErrorDetail(
      create(ErrorDetailSchema, { code: 'rm -rf', message: 'm'.repeat(9999), details, retryAfterMs: 3 }),
    )
    expect(error.code).toBe('ERR_INTERNAL')
    expect(error.message.length).toBe(1024)
    expect(Object.keys(error.details).length).toBe(33)
    expect(error.details['d0']).toHaveLength(1024)
  })

  it('without a detail of ours get a code by what Connect says', () => {
    expect(fromConnectError(new ConnectError('x', Code.Unavailable)).code).toBe('ERR_UNAVAILABLE')
    expect(fromConnectError(new ConnectError('x', Code.ResourceExhausted)).code).toBe('ERR_REQUEST_TOO_LARGE')
    expect(fromConnectError(new TypeError('fetch failed')).code).toBe('ERR_INTERNAL')
    const own = new CipherlogError('ERR_TIMEOUT', 'x')
    expect(fromConnectError(own)).toBe(own)
  })

  it('pass through toErrorDetail() unchanged by a round trip of protobuf', () => {
    const detail = toErrorDetail(new RefusedError('ERR_BUSY', 'Later.', { details: { retryAfterMs: 5 } }))
    expect(fromBinary(ErrorDetailSchema, toBinary(ErrorDetailSchema, detail))).toEqual(detail)
    expect(detail.refused).toBe(true)
  })
})
