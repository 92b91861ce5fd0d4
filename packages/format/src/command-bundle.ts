/**
 * Command bundles: 1 to 256 command heads under one signature; bodies travel beside it, so that each can be
 * dropped alone while every verdict, root and signature still holds.
 *
 * Travels as CBOR [bundle bytes, signature]; label `bundle`, by the client's key. SHA-256 of that array stands
 * in the leaf record.
 */
import {
  array,
  boolean,
  bytes,
  concatBytes,
  constant,
  DecodeError,
  encode,
  record,
  tuple,
  uint,
  type TypeOf,
} from '@cipherlog/core'
import {
  circuitId,
  clusterId,
  digest,
  formatVersion,
  groupId,
  id16,
  namespaceName,
  operationName,
  signature,
  timeMs,
} from './common.ts'

export const commandsPerBundleMax = 256
/** Longest stored key: version ‖ HMAC is 33 bytes; clear keys may be longer. */
export const keyBytesMax = 512
/** Bodies of one bundle, before genesis lowers it. */
export const bodiesBytesMax = 8_388_608

/** Digest and length of a body that travels beside the head. */
export const bodyRef = record('body-ref', { sha256: [1, digest], bytes: [2, uint(bodiesBytesMax, 1)] })
export type BodyRef = TypeOf<typeof bodyRef>

/** What the server sees of a command. */
export const commandHead = record(
  'command-head',
  {
    namespace: [1, namespaceName],
    op: [2, operationName],
    keyset: [4, id16],
    keyEpoch: [5, uint(0xffff_ffff, 1)],
    suite: [6, uint(5, 1)],
    commandId: [10, id16],
  },
  {
    key: [3, bytes(1, keyBytesMax)],
    envelope: [7, digest],
    circuit: [8, circuitId],
    args: [9, bytes(1, 4096)],
    ciphertext: [11, bodyRef],
    proof: [12, bodyRef],
    wraps: [13, bodyRef],
  },
)
export type CommandHead = TypeOf<typeof commandHead>

export const commandBundle = record(
  'command-bundle',
  {
    version: [0, constant(formatVersion)],
    cluster: [1, clusterId],
    group: [2, groupId],
    generation: [3, uint()],
    /** Number of the newest key event the writer has verified. */
    registry: [4, uint()],
    client: [5, id16],
    session: [6, uint(Number.MAX_SAFE_INTEGER, 1)],
    firstSequence: [7, uint(Number.MAX_SAFE_INTEGER, 1)],
    /** 1: the client's signature. 2 is reserved for a membership proof. */
    auth: [10, constant(1, 'auth')],
    heads: [11, array(commandHead, commandsPerBundleMax, 1)],
  },
  { notAfter: [8, timeMs], atomic: [9, boolean()] },
)
export type CommandBundle = TypeOf<typeof commandBundle>

export const bundleBytesMax = 1_048_576

export const signedCommandBundle = tuple(bytes(1, bundleBytesMax), signature)

/** What a command's content and proof are bound to; `H` = SHA-256(label `context` ‖ 00 ‖ this). */
export const commandContext = record(
  'command-context',
  {
    cluster: [1, clusterId],
    client: [2, id16],
    namespace: [3, namespaceName],
    op: [4, operationName],
    keyset: [6, id16],
    keyEpoch: [7, uint(0xffff_ffff, 1)],
    suite: [8, uint(5, 1)],
    commandId: [12, id16],
  },
  { key: [5, bytes(1, keyBytesMax)], envelope: [9, digest], circuit: [10, circuitId], args: [11, bytes(1, 4096)] },
)

/** The bytes whose labelled hash is the context `H` of a command. */
export function contextBytes(cluster: Uint8Array, client: Uint8Array, head: CommandHead): Uint8Array {
  const { namespace, op, key, keyset, keyEpoch, suite, envelope, circuit, args, commandId } = head
  return encode(commandContext, {
    cluster,
    client,
    namespace,
    op,
    key,
    keyset,
    keyEpoch,
    suite,
    envelope,
    circuit,
    args,
    commandId,
  })
}

/** The bodies of one command; absent ones are undefined. Views into the joined bytes. */
export interface CommandBodies {
  readonly ciphertext?: Uint8Array | undefined
  readonly proof?: Uint8Array | undefined
  readonly wraps?: Uint8Array | undefined
}

/** Bodies as they travel: ciphertext ‖ proof ‖ wraps of each command in turn. */
export function joinBodies(bodies: readonly CommandBodies[]): Uint8Array {
  return concatBytes(
    ...bodies.flatMap((body) => [body.ciphertext, body.proof, body.wraps].filter((part) => part !== undefined)),
  )
}

/** Bodies as the trail keeps them (`tile/body`): ciphertext ‖ proof of each command in turn; wraps live in state. */
export function joinTrailBodies(bodies: readonly CommandBodies[]): Uint8Array {
  return concatBytes(...bodies.flatMap((body) => [body.ciphertext, body.proof].filter((part) => part !== undefined)))
}

/** Cuts `joined` by the lengths that the heads state. Digests are not checked here. @throws DecodeError `ERR_DECODE_BODY` if the lengths don't add up. */
export function splitBodies(
  heads: readonly CommandHead[],
  joined: Uint8Array,
  parts: readonly ('ciphertext' | 'proof' | 'wraps')[] = ['ciphertext', 'proof', 'wraps'],
): CommandBodies[] {
  let at = 0
  const take = (ref: BodyRef | undefined): Uint8Array | undefined => {
    if (ref === undefined) return undefined
    const part = joined.subarray(at, at + ref.bytes)
    at += ref.bytes
    return part
  }
  let total = 0
  for (const head of heads) for (const part of parts) total += head[part]?.bytes ?? 0
  if (total !== joined.length) {
    throw new DecodeError(
      'ERR_DECODE_BODY',
      `The heads announce ${total} bytes of bodies, ${joined.length} came; send each body whole, in order.`,
    )
  }
  return heads.map((head) => ({
    ciphertext: parts.includes('ciphertext') ? take(head.ciphertext) : undefined,
    proof: parts.includes('proof') ? take(head.proof) : undefined,
    wraps: parts.includes('wraps') ? take(head.wraps) : undefined,
  }))
}
