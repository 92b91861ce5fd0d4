/**
 * Errors on the wire. A {@link CipherlogError} travels as its stable code, its sentence and its details, in an
 * `ErrorDetail` beside a Connect error (unary calls) or inside an answer (streams), and comes back as the class
 * for which callers decide: refused, not leader, outcome unknown.
 *
 * Invariant: only a {@link RefusedError} and errors whose code stands in {@link classes} leave the process with their
 * text. Anything else may name files, memory or keys of the host, so it becomes a fixed sentence; the server logs the
 * original.
 */
import { create } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import {
  CipherlogError,
  DecodeError,
  NotLeaderError,
  PolicyError,
  ProposalOutcomeUnknownError,
  RefusedError,
  toHex,
  VerificationError,
  type ErrorOptionsWithDetails,
} from '@cipherlog/core'
import { ErrorDetailSchema, type ErrorDetail } from './gen/cipherlog/v1/cipherlog_pb.ts'

type ErrorClass = new (code: string, message: string, options?: ErrorOptionsWithDetails) => CipherlogError

/** Code or prefix (ending in `_`) of errors that clients may see. */
const classes: readonly (readonly [code: string, connectCode: Code, errorClass: ErrorClass])[] = [
  ['ERR_DECODE_', Code.InvalidArgument, DecodeError],
  ['ERR_REQUEST_', Code.InvalidArgument, CipherlogError],
  ['ERR_VERIFY_', Code.FailedPrecondition, VerificationError],
  ['ERR_POLICY_', Code.FailedPrecondition, PolicyError],
  ['ERR_KEY_UNPROVEN', Code.FailedPrecondition, PolicyError],
  ['ERR_SEQUENCE_', Code.FailedPrecondition, RefusedError],
  ['ERR_SESSION_', Code.FailedPrecondition, RefusedError],
  ['ERR_REGISTRY_', Code.FailedPrecondition, CipherlogError],
  ['ERR_MEMBERSHIP_', Code.FailedPrecondition, CipherlogError],
  ['ERR_TRANSFER_', Code.FailedPrecondition, CipherlogError],
  ['ERR_BUSY', Code.ResourceExhausted, RefusedError],
  ['ERR_NOT_LEADER', Code.Unavailable, CipherlogError],
  ['ERR_OUTCOME_UNKNOWN', Code.Aborted, CipherlogError],
  ['ERR_NOT_FOUND', Code.NotFound, CipherlogError],
  ['ERR_NOT_PUBLISHED', Code.DeadlineExceeded, CipherlogError],
  ['ERR_UNAVAILABLE', Code.Unavailable, CipherlogError],
  ['ERR_TRAIL_NOT_HERE', Code.Unavailable, CipherlogError],
  ['ERR_TIMEOUT', Code.DeadlineExceeded, CipherlogError],
  ['ERR_CANCELED', Code.Canceled, CipherlogError],
  ['ERR_UNIMPLEMENTED', Code.Unimplemented, CipherlogError],
]

const classOf = (code: string) =>
  classes.find(([prefix]) => (prefix.endsWith('_') ? code.startsWith(prefix) : code === prefix))

const codePattern = /^ERR_[A-Z0-9_]{1,60}$/
/** Longest sentence and detail taken from a peer; longer ones are cut. */
const textLengthMax = 1024
const detailsMax = 32

/** What stands in for an error that is nobody's business outside. */
const internalMessage = 'The replica could not answer because of a fault of its own; its log says which.'

/** The detail for `error`. Uint8Arrays in `details` become hex, other values text. */
export function toErrorDetail(error: unknown): ErrorDetail {
  if (!(error instanceof CipherlogError))
    return create(ErrorDetailSchema, { code: 'ERR_INTERNAL', message: internalMessage })
  if (classOf(error.code) === undefined && !(error instanceof RefusedError)) {
    return create(ErrorDetailSchema, { code: error.code, message: internalMessage })
  }
  const details: Record<string, string> = {}
  let retryAfterMs = 0
  for (const [name, value] of Object.entries(error.details).slice(0, detailsMax)) {
    if (name === 'retryAfterMs' && typeof value === 'number' && value >= 0 && value <= 0xffff_ffff) {
      retryAfterMs = Math.ceil(value)
    } else if (value !== undefined) {
      details[name] = detailText(value).slice(0, textLengthMax)
    }
  }
  return create(ErrorDetailSchema, {
    code: error.code,
    message: error.message.slice(0, textLengthMax),
    details,
    retryAfterMs,
    refused: error instanceof RefusedError,
  })
}

function detailText(value: unknown): string {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return toHex(value)
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner instanceof Uint8Array ? toHex(inner) : typeof inner === 'bigint' ? String(inner) : inner,
  )
}

/** The error that `detail`, which comes from a server and is only its word, speaks of. */
export function fromErrorDetail(detail: ErrorDetail, cause?: unknown): CipherlogError {
  const code = codePattern.test(detail.code) ? detail.code : 'ERR_INTERNAL'
  const details: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(detail.details).slice(0, detailsMax)) {
    details[name] = value.slice(0, textLengthMax)
  }
  if (detail.retryAfterMs > 0) details['retryAfterMs'] = detail.retryAfterMs
  if (code === 'ERR_NOT_LEADER') {
    const leaderId = details['leaderId']
    return new NotLeaderError(typeof leaderId === 'string' ? leaderId : undefined)
  }
  const message = detail.message.slice(0, textLengthMax)
  if (code === 'ERR_OUTCOME_UNKNOWN') return new ProposalOutcomeUnknownError(message)
  const ErrorType = detail.refused ? RefusedError : (classOf(code)?.[2] ?? CipherlogError)
  return new ErrorType(code, message, { details, cause })
}

/** What a handler throws for `error`. Connect errors (limits, cancellation) pass unchanged. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error
  const detail = toErrorDetail(error)
  const connectCode =
    classOf(detail.code)?.[1] ?? (error instanceof RefusedError ? Code.FailedPrecondition : Code.Internal)
  const headers = detail.retryAfterMs > 0 ? { 'retry-after': String(Math.ceil(detail.retryAfterMs / 1000)) } : undefined
  return new ConnectError(detail.message, connectCode, headers, [{ desc: ErrorDetailSchema, value: detail }], error)
}

/** Codes for Connect errors that carry no detail of ours: made by the library, a proxy or the network. */
const withoutDetail = new Map<Code, readonly [code: string, message: string]>([
  [Code.Unavailable, ['ERR_UNAVAILABLE', 'The replica cannot be reached; try another endpoint.']],
  [Code.DeadlineExceeded, ['ERR_TIMEOUT', 'No answer came in time; try again or another endpoint.']],
  [Code.Canceled, ['ERR_CANCELED', 'The call was cancelled.']],
  [Code.Aborted, ['ERR_CANCELED', 'The connection ended before the answer; try again.']],
  [
    Code.ResourceExhausted,
    ['ERR_REQUEST_TOO_LARGE', 'The message is above the limit of the replica; send less at once.'],
  ],
  [Code.Unimplemented, ['ERR_UNIMPLEMENTED', 'The endpoint does not know this call; check its address and version.']],
  [Code.InvalidArgument, ['ERR_REQUEST_INVALID', 'The endpoint could not read the request; check its version.']],
])

/** The error that a client's caller sees for whatever a Connect call threw. */
export function fromConnectError(error: unknown): CipherlogError {
  if (error instanceof CipherlogError) return error
  const connectError = ConnectError.from(error)
  const detail = connectError.findDetails(ErrorDetailSchema)[0]
  if (detail !== undefined) return fromErrorDetail(detail, connectError)
  const [code, message] = withoutDetail.get(connectError.code) ?? [
    'ERR_INTERNAL',
    'The endpoint answered with an error that is not one of a replica; check its address.',
  ]
  return new CipherlogError(code, message, {
    cause: connectError,
    details: { reason: connectError.rawMessage.slice(0, textLengthMax) },
  })
}
