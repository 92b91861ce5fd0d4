/**
 * What a command bundle would do: every reason for refusal first, before the first command is decided; then
 * what can be said of each command without its neighbours; the rest when it is applied, in order.
 *
 * Order of a command's checks: notAfter, revoked, grant, command (form), epoch, limit (quota), gate, proof,
 * envelope, machine. Those up to the gate look at nothing that an earlier command of the bundle can change,
 * so the proofs that are needed are known before any is checked.
 */
import {
  decode,
  DecodeError,
  encode,
  equalBytes,
  invariant,
  RefusedError,
  toHex,
  VerificationError,
  type CipherlogError,
} from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import { decodeElgamalCiphertext } from '@cipherlog/crypto/evaluate/elgamal'
import { inspectBfvCiphertext, type BfvSuiteNumber } from '@cipherlog/crypto/evaluate/bfv'
import {
  commandBundle,
  contextBytes,
  joinTrailBodies,
  leafKinds,
  leafRecord,
  signedCommandBundle,
  splitBodies,
  suites,
  verdicts,
  type CommandBodies,
  type CommandBundle,
  type CommandHead,
  type NamespaceDefinition,
  type Verdict,
} from '@cipherlog/format'
import { findCircuit } from '@cipherlog/proof'
import { type Registry } from '@cipherlog/registry'
import { type Cells } from './cells.ts'
import { acceptsEnvelope, applyEnvelope, checkWraps, envelopeOperation, mayUseEnvelope } from './envelopes.ts'
import { type EntryPlace, type LeafContent, type NeededProof, type Plan, type Proposal } from './entry.ts'
import { type Machines } from './machines.ts'
import { type Quarantines } from './quarantines.ts'
import { QuotaUse } from './quotas.ts'
import { checkSequence, recordBundle } from './sessions.ts'
import { Transaction, type State } from './state.ts'

/** What a plan looks at. */
export interface PlanContext {
  readonly registry: Registry
  readonly state: State
  readonly cells: Cells
  readonly machines: Machines
  readonly quarantines: Quarantines
  readonly group: Uint8Array
  readonly generation: number
  readonly nextLeaf: number
  /** Counts applied entries: a plan is valid for one state only. */
  readonly version: number
}

/** How a bundle is planned. */
export interface PlanMode {
  readonly logTime: number
  /** Operators have set the entry aside: every command is rejected for that. */
  readonly quarantined: boolean
  /** For a leader that may append it. */
  readonly admission: boolean
}

/** Decoding, a signature, sessions, the leaf: what every entry costs, in ms. */
export const entryCostMs = 0.3
/** A command that no machine looks at: an envelope, or one that will be rejected. */
const commandCostMs = 0.02

interface PlannedCommand {
  readonly head: CommandHead
  readonly bodies: CommandBodies
  readonly namespace: NamespaceDefinition | undefined
  /** Settled already, unless `applied`. */
  readonly verdict: Verdict
  readonly gateError: CipherlogError | undefined
  /** Index into the needed proofs. */
  readonly proof: number | undefined
}

export function planBundle(context: PlanContext, proposal: Proposal, mode: PlanMode): Plan {
  const { registry, state } = context
  const { logTime, quarantined, admission } = mode
  const [bundleBytes, signature] = decode(signedCommandBundle, proposal.signed)
  const bundle = decode(commandBundle, bundleBytes)
  const bodies = checkForm(context, bundle, bundleBytes, proposal)
  const digest = sha256(proposal.signed)

  const client = registry.client(bundle.client)
  if (client === undefined) {
    throw new RefusedError('ERR_CLIENT_UNKNOWN', 'The client is not registered; ask an operator to add it.')
  }
  if (!verifyLabelled(client.publicKey, labels.bundle, bundleBytes, signature)) {
    throw new RefusedError(
      'ERR_SIGNATURE',
      "The bundle's signature is not the client's; sign it with the registered key.",
    )
  }
  const answer = checkSequence(state, bundle.client, bundle.session, bundle.firstSequence, digest)
  if (answer !== undefined) return { outcome: 'duplicate', answer }

  const bundleVerdict = quarantined
    ? verdicts.quarantined
    : bundle.notAfter !== undefined && logTime > bundle.notAfter
      ? verdicts.notAfter
      : client.revoked !== undefined
        ? verdicts.revoked
        : verdicts.applied
  const quota = new QuotaUse(state, bundle.client, logTime)
  const proofs: NeededProof[] = []
  const commands = bundle.heads.map((head, i) =>
    planCommand(context, bundle, head, bodies[i]!, i, bundleVerdict, quota, proofs, logTime),
  )
  const rejected = admission ? checkRejected(context, bundle, commands) : { proofs: [], inadmissible: undefined }

  return {
    outcome: 'accepted',
    proofs,
    admission: {
      owner: toHex(bundle.client),
      costMs: bundle.heads.reduce((sum, head) => sum + costOf(context, head), entryCostMs),
      proofsOfRejected: rejected.proofs,
      inadmissible: rejected.inadmissible,
    },
    effect: {
      plannedAt: context.version,
      kind: proposal.kind,
      logTime,
      run: (proofsGood, place) =>
        applyBundle(context, { proposal, bundle, digest, commands, quota, quarantined }, proofs, proofsGood, place),
    },
  }
}

/**
 * Verdicts that may be others by the time the bundle is applied: a grant or key version is under way, a minute of a
 * quota ends. The rest is final: nobody is taken back, log time never falls, namespaces never change.
 */
const passing: ReadonlySet<Verdict> = new Set([verdicts.grant, verdicts.epoch, verdicts.limit])

/**
 * Bodies of commands that would be rejected now: a leader must have checked them all the same, for if they are applied
 * after all, a bad one would make the leader look faulty.
 */
function checkRejected(
  context: PlanContext,
  bundle: CommandBundle,
  commands: readonly PlannedCommand[],
): { proofs: NeededProof[]; inadmissible: { command: number; error: CipherlogError } | undefined } {
  const proofs: NeededProof[] = []
  for (const [command, planned] of commands.entries()) {
    const { head, bodies, namespace, verdict } = planned
    if (planned.gateError !== undefined) return { proofs, inadmissible: { command, error: planned.gateError } }
    if (!passing.has(verdict)) continue
    // Of a known namespace with another form the verdict is `command`, whatever becomes of its grant.
    if (namespace !== undefined && !acceptsForm(context, bundle, head, namespace)) continue
    const error = gate(head, bodies)
    if (error !== undefined) return { proofs, inadmissible: { command, error } }
    if (bodies.proof === undefined) continue
    const proof = neededProof(context, bundle, head, bodies, command)
    if (proof === undefined) {
      const error = new RefusedError(
        'ERR_PROOF_UNCHECKED',
        `Command ${command} is proven under a circuit or key version that this replica does not know; try again.`,
        { details: { command } },
      )
      return { proofs, inadmissible: { command, error } }
    }
    proofs.push(proof)
  }
  return { proofs, inadmissible: undefined }
}

function costOf(context: PlanContext, head: CommandHead): number {
  const namespace = context.registry.namespace(head.namespace)
  const machine = namespace === undefined ? undefined : context.machines.find(namespace)
  const counts = machine?.operations.includes(head.op) === true && machine.accepts(head, namespace!)
  return counts ? machine.costOf(head) : commandCostMs
}

/** Everything that makes the bytes themselves unacceptable. */
function checkForm(
  context: PlanContext,
  bundle: CommandBundle,
  bundleBytes: Uint8Array,
  proposal: Proposal,
): CommandBodies[] {
  const { registry } = context
  if (!equalBytes(bundle.cluster, registry.cluster)) {
    throw new RefusedError('ERR_OTHER_CLUSTER', 'The bundle is for another cluster; connect to the one it names.')
  }
  if (!equalBytes(bundle.group, context.group) || bundle.generation !== context.generation) {
    throw new RefusedError(
      'ERR_OTHER_GROUP',
      'The bundle is for another group or generation; make it anew for this one.',
    )
  }
  if (bundle.registry > registry.head.number) {
    throw new RefusedError(
      'ERR_REGISTRY_AHEAD',
      `The bundle names key event ${bundle.registry}, this replica has ${registry.head.number}; try again or ask another replica.`,
    )
  }
  const { bundleBytesMax, bodiesBytesMax } = registry.genesis.limits
  // Counted from the heads: a replay, which has no wraps, must come to the same answer.
  const bodiesBytes = bundle.heads
    .flatMap(({ ciphertext, proof, wraps }) => [ciphertext, proof, wraps])
    .reduce((total, part) => total + (part?.bytes ?? 0), 0)
  if (bundleBytes.length > bundleBytesMax || bodiesBytes > bodiesBytesMax) {
    throw new RefusedError('ERR_TOO_LARGE', "The bundle is above the cluster's limits; send smaller bundles.", {
      details: { bundleBytes: bundleBytes.length, bundleBytesMax, bodiesBytes, bodiesBytesMax },
    })
  }
  const wrapsIncluded = proposal.wrapsIncluded ?? true
  const bodies = splitBodies(
    bundle.heads,
    proposal.body,
    wrapsIncluded ? ['ciphertext', 'proof', 'wraps'] : ['ciphertext', 'proof'],
  )
  bundle.heads.forEach((head, i) => {
    for (const part of ['ciphertext', 'proof', 'wraps'] as const) {
      const body = bodies[i]![part]
      if (body !== undefined && !equalBytes(sha256(body), head[part]!.sha256)) {
        throw new RefusedError(
          'ERR_BODY_DIGEST',
          `The ${part} of command ${i} has another digest than its head says; send the body that was signed.`,
          { details: { command: i, part } },
        )
      }
    }
    if (bodies[i]!.wraps !== undefined) checkWraps(bodies[i]!.wraps!)
  })
  return bodies
}

function planCommand(
  context: PlanContext,
  bundle: CommandBundle,
  head: CommandHead,
  bodies: CommandBodies,
  command: number,
  bundleVerdict: Verdict,
  quota: QuotaUse,
  proofs: NeededProof[],
  logTime: number,
): PlannedCommand {
  const { registry } = context
  const namespace = registry.namespace(head.namespace)
  const decided = (verdict: Verdict, gateError?: CipherlogError): PlannedCommand => ({
    head,
    bodies,
    namespace,
    verdict,
    gateError,
    proof: undefined,
  })

  if (bundleVerdict !== verdicts.applied) return decided(bundleVerdict)
  const grant = registry.grantFor(bundle.client, head.namespace, head.op, logTime)
  if (namespace === undefined || grant === undefined) return decided(verdicts.grant)
  if (!acceptsForm(context, bundle, head, namespace)) return decided(verdicts.command)
  if (!registry.acceptsEpoch(head.keyset, head.keyEpoch, logTime)) return decided(verdicts.epoch)
  if (!quota.take(grant, head)) return decided(verdicts.limit)

  const gateError = gate(head, bodies)
  if (gateError !== undefined) return decided(verdicts.gate, gateError)

  if (head.circuit === undefined) return decided(verdicts.applied)
  const proof = neededProof(context, bundle, head, bodies, command)
  invariant(proof !== undefined, 'A namespace names a circuit or key that is not there.')
  proofs.push(proof)
  return { head, bodies, namespace, verdict: verdicts.applied, gateError: undefined, proof: proofs.length - 1 }
}

/** The check that a proven command needs; undefined if it names a circuit or key that is not there. */
function neededProof(
  { registry }: PlanContext,
  bundle: CommandBundle,
  head: CommandHead,
  bodies: CommandBodies,
  command: number,
): NeededProof | undefined {
  const accepted = head.circuit === undefined ? undefined : registry.circuit(head.circuit)
  const keyset = registry.keyset(head.keyset)
  // Keys of other suites have other lengths; the head of a rejected command may name any keyset.
  const publicKey =
    keyset?.suite === suites.elgamalBjj ? keyset.versions.get(head.keyEpoch)?.version.publicKey : undefined
  const { ciphertext, proof } = bodies
  if (accepted === undefined || publicKey === undefined || ciphertext === undefined || proof === undefined) {
    return undefined
  }
  return {
    command,
    verificationKey: accepted.verificationKey,
    statement: findCircuit(accepted.id)!.statement({
      ciphertext,
      publicKey,
      context: labelledHash(labels.context, contextBytes(bundle.cluster, bundle.client, head)),
    }),
    proof,
  }
}

/** Whether head and namespace fit, and the parts are those that the machine wants: pure. */
function acceptsForm(
  context: PlanContext,
  bundle: CommandBundle,
  head: CommandHead,
  namespace: NamespaceDefinition,
): boolean {
  if (head.suite !== namespace.suite || !equalBytes(head.keyset, namespace.keyset)) return false
  if (head.op === envelopeOperation) return acceptsEnvelope(bundle.cluster, bundle.client, head)
  const machine = context.machines.find(namespace)
  invariant(machine !== undefined, 'A namespace names a state machine that this software lacks.', {
    machine: namespace.machine,
  })
  // Proven exactly if the namespace names a circuit, whatever the machine thinks of it.
  const proven = head.circuit === namespace.circuit && (head.proof === undefined) === (head.circuit === undefined)
  return proven && machine.operations.includes(head.op) && machine.accepts(head, namespace)
}

/** The structural gate of a suite: what must hold of ciphertext bytes before anything computes on them. */
function gate(head: CommandHead, bodies: CommandBodies): CipherlogError | undefined {
  if (bodies.ciphertext === undefined || head.suite === suites.hpkeXwing) return undefined
  try {
    if (head.suite === suites.elgamalBjj) decodeElgamalCiphertext(bodies.ciphertext, { allowIdentity: false })
    else inspectBfvCiphertext(head.suite as BfvSuiteNumber, bodies.ciphertext)
    return undefined
  } catch (error) {
    if (error instanceof DecodeError || error instanceof VerificationError) return error
    throw error
  }
}

interface PlannedBundle {
  readonly proposal: Proposal
  readonly bundle: CommandBundle
  readonly digest: Uint8Array
  readonly commands: readonly PlannedCommand[]
  readonly quota: QuotaUse
  readonly quarantined: boolean
}

function applyBundle(
  context: PlanContext,
  planned: PlannedBundle,
  proofs: readonly NeededProof[],
  proofsGood: readonly boolean[],
  place: EntryPlace,
): LeafContent {
  const { bundle, digest, commands, proposal, quota, quarantined } = planned
  invariant(proofsGood.length === proofs.length, 'A bundle was applied without the results of its proofs.')
  const firstBadProof = proofsGood.indexOf(false)
  const leaf = context.nextLeaf

  const transaction = new Transaction(context.state)
  let decided = commands.map(({ head, bodies, namespace, verdict, proof }, command): Verdict => {
    if (verdict !== verdicts.applied) return verdict
    if (proof !== undefined && firstBadProof !== -1 && proof >= firstBadProof) {
      return proof === firstBadProof ? verdicts.proof : verdicts.notVerified
    }
    const changes = transaction.writes + context.cells.uncommitted
    const result = applyCommand(context, bundle, head, bodies, namespace!, transaction, leaf, command)
    invariant(
      result === verdicts.applied || transaction.writes + context.cells.uncommitted === changes,
      'A rejected command changed the state.',
      { leaf, command },
    )
    return result
  })

  if (bundle.atomic === true && decided.some((verdict) => verdict !== verdicts.applied)) {
    decided = decided.map((verdict) => (verdict === verdicts.applied ? verdicts.atomic : verdict))
    context.cells.rollback()
  } else {
    transaction.commit()
    context.cells.commit()
  }

  // What was set aside counts for nothing.
  if (quarantined) context.quarantines.setAside({ index: place.logIndex, digest }, leaf)
  else quota.save(context.state)
  const answer = { leaf, digest, verdicts: decided }
  recordBundle(context.state, bundle.client, bundle.session, bundle.firstSequence, bundle.heads.length, answer)
  return {
    record: encode(leafRecord, {
      kind: leafKinds.commandBundle,
      group: context.group,
      logIndex: place.logIndex,
      logTime: place.logTime,
      digest,
      client: bundle.client,
      session: bundle.session,
      firstSequence: bundle.firstSequence,
      sequenceCount: bundle.heads.length,
      epochs: bundle.heads.map((head) => head.keyEpoch),
      verdicts: decided,
    }),
    signed: proposal.signed,
    trailBody: joinTrailBodies(commands.map((command) => command.bodies)),
    digest,
    verdicts: decided,
  }
}

function applyCommand(
  context: PlanContext,
  bundle: CommandBundle,
  head: CommandHead,
  bodies: CommandBodies,
  namespace: NamespaceDefinition,
  state: Transaction,
  leaf: number,
  command: number,
): Verdict {
  if (head.op === envelopeOperation) return applyEnvelope(state, head, bodies, leaf)
  if (head.suite === suites.hpkeXwing && !mayUseEnvelope(state, bundle.client, head)) return verdicts.envelope
  const machine = context.machines.find(namespace)!
  const { slicesPerCellMax } = context.registry.genesis.limits
  return machine.apply(
    { namespace, state, cells: context.cells, leaf, command, generation: context.generation, slicesPerCellMax },
    head,
    bodies,
  )
}
