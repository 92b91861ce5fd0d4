/**
 * Following the log, command by command: each with its writer's signature verified, its value opened if a key is at
 * hand. What a replica cannot fake is a command; what it can is a verdict, an omission and the order, until a
 * checkpoint covers them: `receipt` of an entry proves position and verdict.
 */
import { CipherlogError, VerificationError } from '@cipherlog/core'
import { splitBodies, verdictName, verdicts, type CommandHead, type TrustPolicy, type Verdict } from '@cipherlog/format'
import { type WatchedLeaf } from './connection.ts'
import { type Value } from './content.ts'
import { type Reader } from './reader.ts'
import { fetchReceipt, type Receipt } from './receipt.ts'
import { type RegistryView } from './registry-view.ts'
import { faultOf, sleep, type Replicas } from './replicas.ts'
import { bodyOf, openBundle, type StoredBundle } from './stored-command.ts'

export interface WatchOptions {
  /** First leaf; default 0. */
  readonly from?: number
  /** Only commands of this namespace. */
  readonly namespace?: string
  /** Ends the iteration. */
  readonly signal?: AbortSignal
}

/** One command. Commands that put key envelopes on the log are left out. */
export interface WatchEntry {
  /** `origin#leaf.command`. */
  readonly position: string
  readonly leaf: number
  readonly command: number
  readonly namespace: string
  readonly op: string
  /** Who wrote it, 16 bytes: proven by its signature. */
  readonly client: Uint8Array
  readonly verdict: Verdict
  readonly verdictName: string
  /** Milliseconds. */
  readonly logTime: number
  /** The stored key, if the command has one. */
  readonly key: Uint8Array | undefined
  /** Of an applied command that could be opened; empty for a log. */
  readonly name: string | undefined
  readonly value: Value | undefined
  /** Why it was not opened: an error code, `ERR_KEY_MISSING` most often. */
  readonly problem: string | undefined
  /** Proves position and verdict, once a checkpoint covers them. */
  receipt(): Promise<Receipt>
}

export interface WatchContext {
  readonly view: RegistryView
  readonly replicas: Replicas
  readonly reader: Reader
  readonly trustPolicy: TrustPolicy
}

/** @throws what no replica of the cluster could do better: `ERR_VERIFY_*`, `ERR_POLICY_*`, `ERR_CLOSED`. */
export async function* watch(context: WatchContext, options: WatchOptions): AsyncGenerator<WatchEntry> {
  const { replicas } = context
  const { from = 0, namespace } = options
  const ended = new AbortController()
  const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal])
  let next = from
  let doubted = 0
  try {
    for (let attempt = 0; !signal.aborted; attempt++) {
      // Beginning with the preferred one; another's turn comes without moving what writers prefer.
      const { addresses, preferred } = replicas
      const address = addresses[(addresses.indexOf(preferred) + attempt) % addresses.length]!
      try {
        for await (const leaf of replicas.connection(address).watch({ fromLeaf: next, namespace }, signal)) {
          if (leaf.leaf < next || (namespace === undefined && leaf.leaf !== next)) {
            throw new VerificationError(
              'ERR_VERIFY_ORDER',
              'The replica repeats or leaves out leaves; ask another one.',
            )
          }
          const entries = await entriesOf(context, leaf, namespace)
          next = leaf.leaf + 1
          attempt = 0
          doubted = 0
          yield* entries
        }
        if (!signal.aborted) await sleep(replicas.backoff(attempt))
      } catch (error) {
        const fault = faultOf(error)
        if (fault === 'final' || (fault === 'doubtful' && ++doubted >= replicas.addresses.length)) throw error
        await sleep(replicas.backoff(attempt, error))
      }
    }
  } finally {
    ended.abort()
  }
}

async function entriesOf(
  context: WatchContext,
  leaf: WatchedLeaf,
  namespace: string | undefined,
): Promise<WatchEntry[]> {
  const stored = await openBundle(context.view, leaf)
  if (stored === undefined) return []
  const { heads } = stored.bundle
  const bodies = bodiesOf(heads, leaf.body)
  const entries: WatchEntry[] = []
  for (const [command, head] of heads.entries()) {
    if (head.op === 'envelope' || (namespace !== undefined && head.namespace !== namespace)) continue
    entries.push(await entryOf(context, leaf, stored, command, bodies?.[command]?.ciphertext))
  }
  return entries
}

/** Undefined if the replica serves no bodies, or not whole. */
function bodiesOf(heads: readonly CommandHead[], body: Uint8Array) {
  try {
    return splitBodies(heads, body, ['ciphertext', 'proof'])
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    return undefined
  }
}

async function entryOf(
  context: WatchContext,
  { leaf, signed }: WatchedLeaf,
  { record, bundle }: StoredBundle,
  command: number,
  ciphertext: Uint8Array | undefined,
): Promise<WatchEntry> {
  const { view } = context
  const head = bundle.heads[command]!
  const verdict = record.verdicts![command]!
  const { content, problem } = await opened(context, bundle.client, head, verdict, ciphertext)
  return {
    position: `${view.history.origin}#${leaf}.${command}`,
    leaf,
    command,
    namespace: head.namespace,
    op: head.op,
    client: bundle.client,
    verdict,
    verdictName: verdictName(verdict),
    logTime: record.logTime,
    key: head.key,
    name: content?.name,
    value: content?.value,
    problem,
    receipt: () =>
      fetchReceipt(context, { leaf, command, verdict, signed, duplicate: false, signedAnswer: new Uint8Array(0) }),
  }
}

/** What cannot be opened is said, and stops nobody: a faulty writer must not end the iteration. */
async function opened(
  { reader }: WatchContext,
  client: Uint8Array,
  head: CommandHead,
  verdict: Verdict,
  ciphertext: Uint8Array | undefined,
) {
  if (verdict !== verdicts.applied || head.envelope === undefined || head.ciphertext === undefined) {
    return { content: undefined, problem: undefined }
  }
  try {
    const content = await reader.open(client, head, bodyOf(ciphertext, head.ciphertext.sha256))
    return { content, problem: undefined }
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    return { content: undefined, problem: error.code }
  }
}
