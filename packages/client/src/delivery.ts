/**
 * Delivering signed bytes until the log answers (DESIGN §5 "Client sessions"): the same bytes again and again, over
 * leader changes and lost connections, and the answer believed only if a replica of the current cosigner set signed
 * it for exactly these bytes.
 */
import {
  CipherlogError,
  decode,
  equalBytes,
  NotLeaderError,
  ProposalOutcomeUnknownError,
  VerificationError,
  type Clock,
} from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import { applied as appliedCodec, signedApplied, type Applied } from '@cipherlog/format'
import { type Registry } from '@cipherlog/registry'
import { type Proposal } from './connection.ts'
import { type RegistryView } from './registry-view.ts'
import { leaderIdOf, sleep, type Replicas } from './replicas.ts'

export interface Delivered extends Applied {
  /** CBOR [applied, signature]: the replica's signed word, to be kept as evidence. */
  readonly signedAnswer: Uint8Array
  /** The log had these bytes before: this is the first answer. */
  readonly duplicate: boolean
}

export interface DeliveryOptions {
  readonly replicas: Replicas
  readonly view: RegistryView
  readonly clock: Clock
  /** How long the same bytes are sent again. */
  readonly deadlineMs: number
}

/** The bytes may have been appended. */
const unknown: ReadonlySet<string> = new Set(['ERR_OUTCOME_UNKNOWN', 'ERR_TIMEOUT', 'ERR_CANCELED', 'ERR_INTERNAL'])
/** They were not; the same may succeed elsewhere or later. */
const retried: ReadonlySet<string> = new Set([
  ...['ERR_UNAVAILABLE', 'ERR_BUSY', 'ERR_REGISTRY_AHEAD', 'ERR_POLICY_ENDPOINT', 'ERR_UNIMPLEMENTED'],
])

/**
 * Proposes until answered.
 * @param verdictCount - how many verdicts the answer must hold.
 * @throws RefusedError and others for a refusal: the bytes have no effect.
 * @throws ProposalOutcomeUnknownError if the deadline passed after they may have been appended.
 * @throws VerificationError `ERR_VERIFY_APPLIED` if no replica gave an answer that checks out.
 */
export async function deliver(
  proposal: Proposal,
  verdictCount: number,
  { replicas, view, clock, deadlineMs }: DeliveryOptions,
): Promise<Delivered> {
  const deadline = clock.monotonic() + deadlineMs
  const digest = sha256(proposal.signed)
  let maybeAppended = false
  /** An answer that did not check out, and why. */
  let doubt: VerificationError | undefined
  for (let attempt = 0; ; attempt++) {
    const address = replicas.preferred
    try {
      const { applied, duplicate } = await replicas.connection(address).propose(proposal)
      maybeAppended = true
      return { ...(await openAnswer(applied, digest, verdictCount, view)), signedAnswer: applied, duplicate }
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      if (error instanceof VerificationError && error.code === 'ERR_VERIFY_APPLIED') doubt = error
      else if (unknown.has(error.code)) maybeAppended = true
      else if (!retried.has(error.code) && !(error instanceof NotLeaderError)) {
        // Only this refusal speaks of earlier sendings too: the sequence went to other bytes.
        if (maybeAppended && error.code !== 'ERR_SEQUENCE_CONFLICT') throw outcomeUnknown(error)
        throw error
      }
      const pause = replicas.backoff(attempt, error)
      if (clock.monotonic() + pause > deadline) throw doubt ?? (maybeAppended ? outcomeUnknown(error) : error)
      if (error instanceof NotLeaderError) await replicas.follow(leaderIdOf(error), address)
      else if (error.code !== 'ERR_BUSY' && error.code !== 'ERR_REGISTRY_AHEAD') replicas.next(address)
      await sleep(pause)
    }
  }
}

/** Opens an answer under the answer keys of the current cosigner set, proven anew once if need be. */
async function openAnswer(
  bytes: Uint8Array,
  digest: Uint8Array,
  verdictCount: number,
  view: RegistryView,
): Promise<Applied> {
  const { registry } = view.current
  const { origin } = view.history
  try {
    return checkAnswer(bytes, digest, verdictCount, registry, origin)
  } catch (error) {
    const renewed = await view.refresh()
    if (renewed.registry.head.number === registry.head.number) throw error
    return checkAnswer(bytes, digest, verdictCount, renewed.registry, origin)
  }
}

function checkAnswer(
  bytes: Uint8Array,
  digest: Uint8Array,
  verdictCount: number,
  registry: Registry,
  origin: string,
): Applied {
  const wrong = (what: string, cause?: unknown) =>
    new VerificationError('ERR_VERIFY_APPLIED', `The answer ${what}; it is not believed. Ask another replica.`, {
      cause,
      details: { answer: bytes },
    })
  let answer: Applied
  let answerBytes: Uint8Array
  let signature: Uint8Array
  try {
    ;[answerBytes, signature] = decode(signedApplied, bytes, 8192)
    answer = decode(appliedCodec, answerBytes, 4096)
  } catch (cause) {
    if (!(cause instanceof CipherlogError)) throw cause
    throw wrong('cannot be read', cause)
  }
  const { members } = registry.cosignerSets.at(-1)!.set
  if (!members.some(({ answerKey }) => verifyLabelled(answerKey, labels.applied, answerBytes, signature))) {
    throw wrong('is not signed by a replica of the cosigner set')
  }
  if (answer.origin !== origin) throw wrong('is about another log')
  if (!equalBytes(answer.digest, digest)) throw wrong('is about other bytes')
  if (answer.verdicts.length !== verdictCount)
    throw wrong(`has ${answer.verdicts.length} verdicts, not ${verdictCount}`)
  return answer
}

function outcomeUnknown(last: CipherlogError): ProposalOutcomeUnknownError {
  return new ProposalOutcomeUnknownError(
    `The proposal may have been appended, but no replica could say (${last.code}). Look it up in the trail, or resend the same bytes.`,
  )
}
