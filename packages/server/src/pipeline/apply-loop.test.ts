import { concatBytes, encode, errorCode, ProposalOutcomeUnknownError, silentLogger, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { entryKinds, logEntry, mark, markReasons, verdicts } from '@cipherlog/format'
import {
  batchLeavesMax,
  createMemoryState,
  Ledger,
  type ClosedBatch,
  type Leaf,
  type Proposal,
} from '@cipherlog/machine'
import { createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { forgetfulNotes } from './apply-guard.ts'
import { ApplyLoop } from './apply-loop.ts'
import { createdAt, ledgerOptions, TestCluster, Writer } from './cluster.fixture.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'
import { PendingProposals, type ApplyOutcome } from './proposals.ts'

let cluster: TestCluster
beforeAll(async () => {
  cluster = await TestCluster.build(['r1'])
})

describe('ApplyLoop', () => {
  let log: MemoryLog
  let replicator: MemoryReplicator
  let ledger: Ledger
  let proposals: PendingProposals
  let loop: ApplyLoop
  let running: Promise<void>
  let verifier: ProofVerifier
  const events: string[] = []
  const leaves: Leaf[] = []
  const closed: ClosedBatch[] = []
  const refused: string[] = []

  beforeEach(async () => {
    for (const list of [events, leaves, closed, refused]) list.length = 0
    log = { entries: [], term: 0 }
    replicator = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
    ledger = (await Ledger.create(createMemoryState(), cluster.signedGenesis, ledgerOptions)).ledger
    proposals = new PendingProposals()
    verifier = createInlineVerifier()
    loop = new ApplyLoop({
      ledger,
      replicator,
      verifier: { verify: (checks) => verifier.verify(checks), close: () => verifier.close() },
      proposals,
      logger: silentLogger,
      onAddresses: () => {},
      onLeaf: (leaf) => {
        leaves.push(leaf)
        events.push(`leaf ${leaf.leafIndex}`)
      },
      onClosed: (batch) => {
        closed.push(batch)
        events.push(`closed ${batch.size}`)
      },
      room: () => undefined,
      onApplied: () => {},
      onRefused: (code) => refused.push(code),
      monotonic: () => performance.now(),
      notes: forgetfulNotes(),
      software: 'test',
    })
    replicator.lead()
    running = loop.run()
  })
  afterEach(async () => {
    loop.stop()
    replicator.stop()
    await running.catch(() => 'told to the test')
  })

  const payloadOf = (proposal: Proposal): Uint8Array => encode(logEntry, [proposal.signed, proposal.body])
  const inject = (proposal: Proposal): number => replicator.inject(proposal.kind, payloadOf(proposal))
  const closeBatch = (): number => replicator.inject(entryKinds.mark, encode(mark, { reason: markReasons.interval }))
  /** Proposes like a replica does, and waits. */
  function propose(proposal: Proposal): Promise<ApplyOutcome> {
    const { pending, answer } = proposals.start(sha256(proposal.signed), 5000)
    void replicator.propose(proposal.kind, payloadOf(proposal)).then((outcome) => {
      if (outcome.outcome === 'committed') pending.index = outcome.index
    })
    return answer
  }
  async function setUp(writer = new Writer(cluster)): Promise<Writer> {
    for (const event of cluster.setup) inject(event)
    inject(writer.open())
    await loop.reached(log.entries.length)
    expect(refused).toEqual([])
    return writer
  }

  it('applies in log order, one leaf after the other, and answers after the leaf', async () => {
    const writer = await setUp()
    const answers = [writer.bundle(writer.envelope(), writer.put('a')), writer.bundle(writer.put('b'))].map((each) =>
      propose(each).then((outcome) => {
        events.push(outcome.outcome)
        return outcome
      }),
    )
    const before = leaves.length
    const outcomes = await Promise.all(answers)
    expect(outcomes).toMatchObject([
      { outcome: 'applied', answer: { leaf: 2 + before, verdicts: [0, 0] } },
      { outcome: 'applied', answer: { leaf: 3 + before, verdicts: [0] } },
    ])
    expect(leaves.map(({ leafIndex }) => leafIndex)).toEqual(leaves.map((_, i) => 2 + i))
    expect(events.slice(-4)).toEqual([`leaf ${2 + before}`, 'applied', `leaf ${3 + before}`, 'applied'])
  })

  it('gives the stored answer to a second copy, and makes no leaf of it', async () => {
    const writer = await setUp()
    const bundle = writer.bundle(writer.envelope(), writer.put('a'))
    const first = await propose(bundle)
    const count = leaves.length
    const second = await propose(bundle)
    expect(second).toEqual({ ...first, outcome: 'duplicate' })
    expect(leaves).toHaveLength(count)
    expect(ledger.appliedIndex).toBe(log.entries.length)
  })

  it('answers a refusal to the copy that was refused, and not to one behind it', async () => {
    const writer = await setUp()
    const first = writer.bundle(writer.envelope(), writer.put('a'))
    const second = writer.bundle(writer.put('b'))
    // The second came too early into the log, by another leader; it is proposed again behind the first.
    replicator.hold()
    const answer = propose(second)
    inject(second)
    inject(first)
    await loop.reached(log.entries.length)
    expect(refused).toEqual(['ERR_SEQUENCE_GAP'])
    replicator.release()
    expect(await answer).toMatchObject({ outcome: 'applied' })

    writer.skipSequence()
    const refusal = await propose(writer.bundle(writer.put('d')))
    expect(refusal).toMatchObject({ outcome: 'refused', error: { code: 'ERR_SEQUENCE_GAP' } })
  })

  it('leaves no trace of an undecodable entry or mark, wherever a faulty leader puts them', async () => {
    await setUp()
    const count = leaves.length
    const { treeSize } = ledger
    const good = payloadOf(cluster.event(cluster.addClient('carol', [])))
    replicator.inject(entryKinds.keyEvent, utf8('nonsense'))
    replicator.inject(entryKinds.keyEvent, concatBytes(good, Uint8Array.of(0)))
    replicator.inject(entryKinds.commandBundle, good)
    replicator.inject(entryKinds.commandBundle, new Uint8Array(0))
    replicator.inject(entryKinds.mark, utf8('no mark'))
    await loop.reached(log.entries.length)
    expect(refused).toHaveLength(5)
    expect(refused.every((code) => code.startsWith('ERR_DECODE'))).toBe(true)
    expect(leaves).toHaveLength(count)
    expect(ledger.treeSize).toBe(treeSize)
    // The batch is still open: the bad mark closed nothing.
    expect(ledger.openLeaves).toBe(count)
    replicator.inject(entryKinds.keyEvent, good)
    closeBatch()
    await loop.reached(log.entries.length)
    expect(leaves).toHaveLength(count + 2)
    expect(closed).toHaveLength(1)
  })

  it('stops before an entry of a kind that it does not know, and names what to do', async () => {
    await setUp()
    const applied = ledger.appliedIndex
    replicator.inject(63, utf8('from the future'))
    expect(await running.catch(errorCode)).toBe('ERR_RULES_UNKNOWN')
    expect(ledger.appliedIndex).toBe(applied)
  })

  it('closes a batch at its 255th leaf, without an entry, before the answer', async () => {
    const writer = await setUp()
    inject(writer.bundle(writer.envelope(), writer.put('a')))
    while (leaves.length < batchLeavesMax - 1) {
      inject(writer.bundle(writer.put('a')))
      await loop.reached(log.entries.length)
    }
    expect(closed).toEqual([])
    const last = await propose(writer.bundle(writer.put('last')))
    expect(last).toMatchObject({ outcome: 'applied', answer: { leaf: 2 + batchLeavesMax - 1 } })
    expect(closed).toMatchObject([{ size: 2 + batchLeavesMax + 1 }])
    expect(leaves.at(-1)!.signed).toHaveLength(0)
    // The next mark has nothing to close.
    closeBatch()
    await loop.reached(log.entries.length)
    expect(closed).toHaveLength(1)
    expect(ledger.appliedIndex).toBe(log.entries.length)
  })

  it('decides a proof that a faulty leader let in, the same for good and bad ones beside it', async () => {
    const writer = await setUp()
    const outcome = await propose(writer.bundle(writer.add('a', 1n), writer.add('b', 2n, true), writer.add('c', 3n)))
    expect(outcome).toMatchObject({
      outcome: 'applied',
      answer: { verdicts: [verdicts.applied, verdicts.proof, verdicts.notVerified] },
    })
  })

  it('takes a failing verifier for no verdict: it applies nothing and the node must stop', async () => {
    const writer = await setUp()
    const { treeSize, appliedIndex } = ledger
    await verifier.close()
    const answer = propose(writer.bundle(writer.add('a', 1n)))
    expect(await running.catch(errorCode)).toBe('ERR_PROOF_CLOSED')
    expect([ledger.treeSize, ledger.appliedIndex]).toEqual([treeSize, appliedIndex])
    proposals.failAll(new ProposalOutcomeUnknownError())
    await answer.catch(() => 'nobody answers')
  })

  it('lets readers wait for a position, and tells them when it will never come', async () => {
    await setUp()
    const reached = loop.reached(log.entries.length + 1)
    const never = loop.reached(log.entries.length + 99).catch(errorCode)
    closeBatch()
    await reached
    loop.stop()
    expect(await never).toBe('ERR_UNAVAILABLE')
    expect(await loop.reached(log.entries.length + 99).catch(errorCode)).toBe('ERR_UNAVAILABLE')
  })

  it('a position is reached once the replicator knows, not as soon as the ledger does', async () => {
    await setUp()
    const index = log.entries.length + 1
    const told: number[] = []
    const appliedUpTo = replicator.appliedUpTo.bind(replicator)
    replicator.appliedUpTo = (upTo) => {
      told.push(upTo)
      appliedUpTo(upTo)
    }
    closeBatch()
    while (ledger.appliedIndex < index) await Promise.resolve()
    await loop.reached(index)
    expect(told).toContain(index)
  })

  it('ends when the replicator stops', async () => {
    await setUp()
    replicator.stop()
    await running
  })
})
