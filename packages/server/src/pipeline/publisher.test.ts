import { InvariantViolation, toHex, type LogFields, type Logger } from '@cipherlog/core'
import { type CosignerSet } from '@cipherlog/format'
import {
  cosignatureKeyType,
  cosignerName,
  ed25519KeyType,
  openCheckpoint,
  parseNote,
  type OpenedCheckpoint,
} from '@cipherlog/merkle/verify'
import { describe, expect, it } from 'vitest'
import { cosignerSetOf, idOf, nodeKeysOf, opaque } from './cluster.fixture.ts'
import { Cosignatures, noteOf, signLines, sizesPerPeerMax, type SignatureLines } from './cosignatures.ts'
import { MemorySignedHead } from './memory-signed-head.fixture.ts'
import { Publisher, type CosigningMessage, type PublisherStart } from './publisher.ts'
import { ManualClock } from './raft-cluster.fixture.ts'

const names = { origin: 'example.com/ledger/0011223344556677/00/0', clusterName: 'example.com/ledger' }
const rootOf = (size: number, log = 'log'): Uint8Array => opaque(`${log} ${size}`, 32)
const three = cosignerSetOf(['r1', 'r2', 'r3'])
const turns = async (count = 12): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** One replica's publisher, its disk and what it sent. */
class Bench {
  readonly name: string
  readonly clock: ManualClock
  readonly signedHead: MemorySignedHead
  readonly sent: CosigningMessage[] = []
  readonly answered: CosigningMessage[] = []
  readonly published: { size: number; note: string }[] = []
  /** What was published of transition sizes, before a restart too. */
  readonly transitions: Map<number, string>
  readonly faults: unknown[] = []
  readonly errors: LogFields[] = []
  readonly publisher: Publisher
  setsFor: (size: number) => readonly CosignerSet[]

  constructor(
    name: string,
    options: {
      sets?: (size: number) => readonly CosignerSet[]
      clock?: ManualClock
      signedHead?: MemorySignedHead
      start?: Partial<PublisherStart>
      transitions?: Map<number, string>
    } = {},
  ) {
    this.name = name
    this.setsFor = options.sets ?? (() => [three])
    this.clock = options.clock ?? new ManualClock()
    this.signedHead = options.signedHead ?? new MemorySignedHead()
    this.transitions = options.transitions ?? new Map()
    const logger: Logger = {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (fields) => void this.errors.push(fields),
    }
    const keys = nodeKeysOf(name)
    this.publisher = new Publisher({
      ...names,
      self: { peerId: keys.peerId, logKey: keys.log, cosignerKey: keys.cosigner },
      setsFor: (size) => this.setsFor(size),
      transitionNote: (size) => this.transitions.get(size),
      signedHead: this.signedHead,
      clock: this.clock,
      logger,
      broadcast: (message) => void this.sent.push(message),
      send: (_to, message) => void this.answered.push(message),
      publish: (size, note) => {
        this.published.push({ size, note })
        if (this.setsFor(size).length > 1) this.transitions.set(size, note)
        return Promise.resolve()
      },
      onFatal: (error) => void this.faults.push(error),
    })
    this.publisher.resume({ treeSize: 0, checkpoint: undefined, ...options.start })
  }

  /** Closes and persists batches. */
  async close(...sizes: (number | { size: number; transition?: boolean; log?: string })[]): Promise<void> {
    for (const each of sizes) {
      const { size, transition = false, log } = typeof each === 'number' ? { size: each } : { log: undefined, ...each }
      this.publisher.closed({ size, rootHash: rootOf(size, log), transition })
      this.publisher.persisted(size)
    }
    await turns()
  }

  /** Signatures of another replica. */
  async hear(from: string, size: number, options: { log?: string; seconds?: number } = {}): Promise<void> {
    this.publisher.received(idOf(from), this.linesOf(from, size, options))
    await turns()
  }

  take(from: string, message: CosigningMessage): void {
    if (message.type === 'cosignatures') this.publisher.received(idOf(from), message)
    else if (message.type === 'cosignatureRequest') this.publisher.requested(idOf(from), message.size)
    else this.publisher.transitionPublished(idOf(from), message.note)
  }

  linesOf(from: string, size: number, { log, seconds }: { log?: string; seconds?: number } = {}): SignatureLines {
    const keys = nodeKeysOf(from)
    const self = { peerId: keys.peerId, logKey: keys.log, cosignerKey: keys.cosigner }
    const at = seconds ?? Math.floor(this.clock.now() / 1000)
    return signLines(names, self, { size, rootHash: rootOf(size, log) }, at)
  }

  get sizes(): number[] {
    return this.published.map(({ size }) => size)
  }

  get signedSizes(): number[] {
    return this.sent.flatMap((message) => (message.type === 'cosignatures' ? [message.size] : []))
  }
}

/** Two that hear nobody but each other, for as long as a second. */
async function converse(a: Bench, b: Bench): Promise<void> {
  for (const bench of [a, b]) bench.publisher.tick()
  for (let round = 0; round < 8; round++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const message of [...from.sent.splice(0), ...from.answered.splice(0)]) to.take(from.name, message)
      await turns()
    }
  }
}

/** Verifies a note as anyone would: under the keys that the sets list. */
function opened(note: string, set: CosignerSet = three): OpenedCheckpoint {
  return openCheckpoint(note, {
    log: set.members.map(({ logKey }) => ({ name: names.origin, type: ed25519KeyType, publicKey: logKey })),
    cosigners: set.members.map(({ peerId, cosignerKey }) => ({
      name: cosignerName(names.clusterName, toHex(peerId)),
      type: cosignatureKeyType,
      publicKey: cosignerKey,
    })),
  })
}

describe('Publisher, signing', () => {
  it('records what it signs before the signature leaves', async () => {
    const bench = new Bench('r1')
    let release = (): void => {}
    bench.signedHead.before = () => new Promise((resolve) => (release = resolve))
    await bench.close(2)
    expect(bench.sent).toEqual([])
    release()
    await turns()
    expect(bench.signedSizes).toEqual([2])
    expect(bench.signedHead.read()).toEqual({ size: 2, rootHash: rootOf(2) })
  })

  it('signs nothing if it cannot record it, and stops', async () => {
    const bench = new Bench('r1')
    bench.signedHead.before = () => Promise.reject(new Error('EIO'))
    await bench.close(2, 5)
    await bench.hear('r2', 5)
    await bench.hear('r3', 5)
    expect(bench.sent).toEqual([])
    expect(bench.published).toEqual([])
    expect(bench.faults).toHaveLength(1)
  })

  it('signs every batch record, in increasing order', async () => {
    const bench = new Bench('r1')
    await bench.close(2, 5, 9, 12)
    expect(bench.signedSizes).toEqual([2, 5, 9, 12])
  })

  it('never signs another root for a size that it signed before a restart', async () => {
    const before = new Bench('r1')
    await before.close(2, 5)
    const after = new Bench('r1', { signedHead: before.signedHead })
    await after.close(2)
    expect(() => after.publisher.closed({ size: 5, rootHash: rootOf(5, 'other'), transition: false })).toThrow(
      InvariantViolation,
    )
    expect(after.sent).toEqual([])
  })

  it('never signs a log that does not pass through the size it signed last', async () => {
    const before = new Bench('r1')
    await before.close(2, 5)
    const after = new Bench('r1', { signedHead: before.signedHead })
    await after.close(2)
    expect(() => after.publisher.closed({ size: 6, rootHash: rootOf(6), transition: false })).toThrow(
      InvariantViolation,
    )
    expect(after.sent).toEqual([])
  })

  it('signs no smaller size again during a replay, and goes on where it was', async () => {
    const before = new Bench('r1')
    await before.close(2, 5, 9)
    const after = new Bench('r1', { signedHead: before.signedHead })
    await after.close(2, 5)
    expect(after.sent).toEqual([])
    await after.close(9, 11)
    expect(after.signedSizes).toEqual([9, 11])
  })

  it('signs only the newest size, and transition sizes, when more than 64 behind', async () => {
    const bench = new Bench('r1')
    let release = (): void => {}
    bench.signedHead.before = () => new Promise((resolve) => (release = resolve))
    await bench.close(2)
    for (let i = 1; i <= 200; i++) {
      bench.publisher.closed({ size: 2 + i, rootHash: rootOf(2 + i), transition: i === 100 })
    }
    bench.signedHead.before = () => Promise.resolve()
    release()
    await turns(40)
    // The transition size is published by nobody here, so nothing above it is signed.
    expect(bench.signedSizes).toEqual([2, 102])
    bench.publisher.persisted(202)
    await bench.hear('r2', 102)
    expect(bench.sizes).toEqual([102])
    expect(bench.signedSizes.at(-1)).toBe(202)
    expect(bench.signedSizes.length).toBeLessThanOrEqual(2 + 64)
  })

  it('signs nothing while no cosigner set lists it', async () => {
    const bench = new Bench('r9')
    await bench.close(2)
    expect(bench.sent).toEqual([])
    await bench.hear('r1', 2)
    await bench.hear('r2', 2)
    expect(bench.sizes).toEqual([2])
  })

  it('signs an unchanged size again every 20 s, with a new time', async () => {
    const bench = new Bench('r1', { sets: () => [cosignerSetOf(['r1'])] })
    await bench.close(2)
    const timeOf = (): number => opened(bench.published.at(-1)!.note).cosignatures[0]!.timeSeconds
    const first = timeOf()
    bench.clock.ms += 19_999
    bench.publisher.tick()
    await turns()
    expect(bench.signedSizes).toEqual([2])
    bench.clock.ms += 1
    bench.publisher.tick()
    await turns()
    expect(bench.signedSizes).toEqual([2, 2])
    expect(bench.sizes).toEqual([2, 2])
    expect(timeOf()).toBe(first + 20)
  })
})

describe('Publisher, publishing', () => {
  it('publishes with a quorum, a log signature and nothing that does not verify', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    expect(bench.published).toEqual([])
    await bench.hear('r3', 2)
    expect(bench.sizes).toEqual([2])
    const note = opened(bench.published[0]!.note)
    expect(note.checkpoint).toMatchObject({ origin: names.origin, size: 2, rootHash: rootOf(2) })
    expect(note.logSignatures).toHaveLength(1)
    expect(note.cosignatures.map(({ key }) => key.name).sort()).toEqual(
      ['r1', 'r3'].map((name) => cosignerName(names.clusterName, toHex(idOf(name)))).sort(),
    )
    expect(note.unknownLines).toEqual([])
  })

  it('publishes the newest size that has its quorum', async () => {
    const bench = new Bench('r1')
    await bench.close(2, 5, 9, 12)
    await bench.hear('r2', 9)
    expect(bench.sizes).toEqual([9])
    await bench.hear('r2', 5)
    await bench.hear('r3', 2)
    expect(bench.sizes).toEqual([9])
    await bench.hear('r2', 12)
    expect(bench.sizes).toEqual([9, 12])
    expect(bench.publisher.publishedSize).toBe(12)
  })

  it('counts signatures that came before its own root was known', async () => {
    const bench = new Bench('r1')
    await bench.hear('r2', 2)
    await bench.hear('r3', 5)
    await bench.close(2)
    expect(bench.sizes).toEqual([2])
    await bench.close(5)
    expect(bench.sizes).toEqual([2, 5])
  })

  it('publishes nothing that is not in the database yet', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    await bench.hear('r2', 2)
    bench.publisher.closed({ size: 5, rootHash: rootOf(5), transition: false })
    await bench.hear('r2', 5)
    expect(bench.sizes).toEqual([2])
    bench.publisher.persisted(5)
    await turns()
    expect(bench.sizes).toEqual([2, 5])
  })

  it('publishes an unchanged size again only with a newer q-th newest time', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    const start = Math.floor(bench.clock.now() / 1000)
    await bench.hear('r2', 2, { seconds: start })
    await bench.hear('r3', 2, { seconds: start + 30 })
    expect(bench.sizes).toEqual([2])
    await bench.hear('r2', 2, { seconds: start + 20 })
    expect(bench.sizes).toEqual([2, 2])
    expect(
      opened(bench.published[1]!.note)
        .cosignatures.map(({ timeSeconds }) => timeSeconds - start)
        .sort((a, b) => a - b),
    ).toEqual([0, 20, 30])
    await bench.hear('r2', 2, { seconds: start + 10 })
    expect(bench.sizes).toEqual([2, 2])
  })

  it('goes on after a restart with the time that was published', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    await bench.hear('r2', 2)
    const { note } = bench.published[0]!
    const again = new Bench('r1', {
      signedHead: bench.signedHead,
      clock: bench.clock,
      start: { treeSize: 2, checkpoint: note },
    })
    expect(again.publisher.publishedSize).toBe(2)
    await again.close(2)
    await again.hear('r2', 2)
    expect(again.published).toEqual([])
    bench.clock.ms += 20_000
    again.publisher.tick()
    await again.hear('r2', 2)
    expect(again.sizes).toEqual([2])
  })

  it('replaces a time far in the future by a sane one', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    const now = Math.floor(bench.clock.now() / 1000)
    await bench.hear('r2', 2, { seconds: now + 86_400 })
    const times = (): number[] =>
      opened(bench.published.at(-1)!.note).cosignatures.map((each) => each.timeSeconds - now)
    expect(times()).toContain(86_400)
    bench.clock.ms += 20_000
    bench.publisher.tick()
    await bench.hear('r2', 2, { seconds: now + 20 })
    expect(times().toSorted((a, b) => a - b)).toEqual([20, 20])
  })

  it('wakes those who wait for a size, gives up in time, on abort and when halted', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    const abort = new AbortController()
    const waiting = [
      bench.publisher.published(2, 10_000),
      bench.publisher.published(3, 10_000, abort.signal),
      bench.publisher.published(3, 1),
      bench.publisher.published(3, 10_000),
    ]
    await bench.hear('r2', 2)
    abort.abort()
    expect(await Promise.all(waiting.slice(0, 3))).toEqual([true, false, false])
    bench.publisher.halt()
    expect(await waiting[3]).toBe(false)
    expect(await bench.publisher.published(2, 1)).toBe(true)
  })
})

describe('Publisher, hostile peers', () => {
  it('drops bad signatures, of strangers, and log and cosigner lines exchanged', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    const good = bench.linesOf('r2', 2)
    const bad: [string, SignatureLines][] = [
      ['r2', { ...good, rootHash: rootOf(5) }],
      ['r2', { ...good, size: 5 }],
      ['r3', good],
      ['r2', { ...good, logLine: good.cosignerLine, cosignerLine: good.logLine }],
      ['r2', { ...good, logLine: good.cosignerLine }],
      ['r2', { ...good, cosignerLine: bench.linesOf('r3', 2).cosignerLine }],
      ['r2', { ...good, logLine: bench.linesOf('r3', 2).logLine }],
      ['r2', { ...good, cosignerLine: `${good.cosignerLine}${good.cosignerLine}` }],
      ['r2', { ...good, cosignerLine: '' }],
      ['r9', bench.linesOf('r9', 2)],
    ]
    for (const [from, lines] of bad) bench.publisher.received(idOf(from), lines)
    await turns()
    expect(bench.published).toEqual([])
    expect(bench.faults).toEqual([])
    await bench.hear('r2', 2)
    expect(bench.sizes).toEqual([2])
  })

  it('publishes nothing while a peer signs another root and there is no quorum, and does not stop', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    await bench.hear('r2', 2, { log: 'other' })
    expect(bench.published).toEqual([])
    expect(bench.faults).toEqual([])
    expect(bench.errors).toHaveLength(1)
    await bench.hear('r3', 2)
    expect(bench.sizes).toEqual([2])
    expect(opened(bench.published[0]!.note).cosignatures).toHaveLength(2)
  })

  it.each(['before', 'after'])('stops with evidence when a quorum signed another root %s its own', async (when) => {
    const bench = new Bench('r1')
    if (when === 'after') await bench.close(2, 5)
    await bench.hear('r2', 5, { log: 'other' })
    await bench.hear('r3', 5, { log: 'other' })
    if (when === 'before') {
      bench.publisher.closed({ size: 2, rootHash: rootOf(2), transition: false })
      expect(() => bench.publisher.closed({ size: 5, rootHash: rootOf(5), transition: false })).toThrow(
        InvariantViolation,
      )
      return
    }
    expect(bench.faults).toHaveLength(1)
    const fault = bench.faults[0] as InvariantViolation
    expect(fault).toBeInstanceOf(InvariantViolation)
    expect(fault.details).toMatchObject({ size: 5, own: toHex(rootOf(5)), signed: toHex(rootOf(5, 'other')) })
    // The evidence convinces anyone who knows the keys.
    const notes = (fault.details['notes'] as string[]).map((note) => opened(note))
    expect(notes.map(({ checkpoint }) => toHex(checkpoint.rootHash))).toEqual(Array(2).fill(toHex(rootOf(5, 'other'))))
    expect(new Set(notes.map(({ cosignatures }) => cosignatures[0]!.key.name)).size).toBe(2)
    // And it has stopped.
    const sent = bench.sent.length
    await bench.hear('r2', 2)
    await bench.close(9)
    bench.publisher.tick()
    expect(bench.published).toEqual([])
    expect(bench.sent).toHaveLength(sent)
  })

  it('keeps the proof that a peer signed two roots, and counts it for each', async () => {
    const bench = new Bench('r1')
    await bench.hear('r2', 2, { log: 'other' })
    await bench.hear('r2', 2)
    expect(bench.errors[0]?.['notes']).toHaveLength(2)
    for (const note of bench.errors[0]!['notes'] as string[]) opened(note)
    await bench.close(2)
    expect(bench.sizes).toEqual([2])
    await bench.hear('r3', 5, { log: 'other' })
    await bench.close(5)
    expect(bench.faults).toEqual([])
  })

  it('keeps no more of a peer than its places, and those of the others', async () => {
    const bench = new Bench('r1')
    await bench.close(2)
    const self = nodeKeysOf('r2')
    const kept = new Cosignatures(names, () => [three])
    const end = 3 + sizesPerPeerMax + 20
    for (let size = 3; size < end; size++) {
      for (const log of size === 7 || size === end - 1 ? ['a', 'b', 'c'] : ['a']) {
        const lines = signLines(
          names,
          { peerId: self.peerId, logKey: self.log, cosignerKey: self.cosigner },
          { size, rootHash: rootOf(size, log) },
          1,
        )
        kept.add(kept.verify(self.peerId, lines), (each) => each === 7, 1)
      }
    }
    const sizes = Array.from({ length: end }, (_, size) => kept.by(three, size).length)
    expect(sizes[7]).toBe(2)
    expect(sizes.filter((count) => count > 0)).toHaveLength(sizesPerPeerMax + 1)
    expect(sizes.at(-1)).toBe(2)
    expect(sizes[8]).toBe(0)
  })

  it('ignores sizes that it has passed without a batch record', async () => {
    const bench = new Bench('r1')
    await bench.close(2, 5)
    await bench.hear('r2', 4)
    await bench.hear('r3', 4)
    expect(bench.faults).toEqual([])
    expect(bench.published).toEqual([])
  })
})

describe('Publisher, transition of cosigner sets', () => {
  const old = cosignerSetOf(['r1', 'r2', 'r3'])
  const next = cosignerSetOf(['r1', 'r4', 'r5'])
  /** The event is leaf 5, its batch ends at size 7. */
  const sets = (size: number): readonly CosignerSet[] => (size <= 5 ? [old] : size <= 7 ? [old, next] : [next])

  it('publishes the transition size with both quorums and a log signature of each set, and nothing larger before', async () => {
    const bench = new Bench('r2', { sets })
    await bench.close(2, { size: 7, transition: true }, 9)
    await bench.hear('r3', 7)
    await bench.hear('r4', 9)
    await bench.hear('r5', 9)
    expect(bench.published).toEqual([])
    await bench.hear('r4', 7)
    expect(bench.published).toEqual([])
    await bench.hear('r5', 7)
    expect(bench.sizes).toEqual([7, 9])
    const [transition, after] = bench.published.map(({ note }) => note)
    expect(opened(transition!, old)).toMatchObject({ checkpoint: { size: 7 } })
    expect(opened(transition!, old).logSignatures).toHaveLength(1)
    expect(opened(transition!, old).cosignatures).toHaveLength(2)
    expect(opened(transition!, next).logSignatures).toHaveLength(1)
    expect(opened(transition!, next).cosignatures).toHaveLength(2)
    expect(opened(after!, next).cosignatures).toHaveLength(2)
    expect(opened(after!, next).unknownLines).toEqual([])
  })

  it('lets one log key that is in both sets sign once for both', async () => {
    const bench = new Bench('r1', { sets })
    await bench.close({ size: 7, transition: true })
    await bench.hear('r2', 7)
    await bench.hear('r4', 7)
    expect(bench.sizes).toEqual([7])
    const { note } = bench.published[0]!
    const logLines = parseNote(note).signatures.filter(({ name }) => name === names.origin)
    expect(logLines).toHaveLength(1)
    expect(opened(note, old).logSignatures).toHaveLength(1)
    expect(opened(note, next).logSignatures).toHaveLength(1)
  })

  it('signs nothing above an unpublished transition size, so that a crash of all leaves it to be signed', async () => {
    const bench = new Bench('r1', { sets })
    await bench.close(2, { size: 7, transition: true }, 9, 12)
    expect(bench.signedSizes).toEqual([2, 7])
    const again = new Bench('r1', { sets, signedHead: bench.signedHead, start: { treeSize: 12 } })
    await again.close({ size: 7, transition: true }, 12)
    expect(again.signedSizes).toEqual([7])
    await again.hear('r2', 7)
    await again.hear('r4', 7)
    expect(again.sizes).toEqual([7])
    expect(again.signedSizes.at(-1)).toBe(12)
  })

  it('keeps an unpublished transition size however many batches follow', async () => {
    const bench = new Bench('r1', { sets })
    bench.publisher.closed({ size: 7, rootHash: rootOf(7), transition: true })
    for (let size = 8; size < 3000; size++) bench.publisher.closed({ size, rootHash: rootOf(size), transition: false })
    bench.publisher.persisted(2999)
    await bench.hear('r4', 2999)
    expect(bench.published).toEqual([])
    await bench.hear('r2', 7)
    await bench.hear('r4', 7)
    expect(bench.sizes).toEqual([7, 2999])
  })

  it('asks for a transition size, and hands out its checkpoint, even after a restart', async () => {
    const bench = new Bench('r1', { sets })
    await bench.close({ size: 7, transition: true }, 9)
    bench.publisher.tick()
    expect(bench.sent).toContainEqual({ type: 'cosignatureRequest', size: 7 })
    bench.publisher.requested(idOf('r5'), 7)
    await bench.hear('r2', 7)
    await bench.hear('r4', 7)
    bench.publisher.requested(idOf('r5'), 7)
    expect(bench.answered).toMatchObject([{ type: 'cosignatures', size: 7 }, { type: 'transitionCheckpoint' }])
    await bench.hear('r4', 9)
    expect(bench.sizes).toEqual([7, 9])

    const again = new Bench('r1', {
      sets,
      signedHead: bench.signedHead,
      transitions: bench.transitions,
      start: { treeSize: 9, checkpoint: bench.published[1]!.note },
    })
    again.publisher.requested(idOf('r5'), 7)
    const late = new Bench('r5', { sets })
    await late.close({ size: 7, transition: true })
    late.take('r1', again.answered[0]!)
    await turns()
    expect(late.sizes).toEqual([7])
  })

  describe('whose signers are gone', () => {
    const first = cosignerSetOf(['r1', 'r2', 'r3'])
    const second = cosignerSetOf(['r4', 'r2', 'r3'])
    const third = cosignerSetOf(['r4', 'r5', 'r3'])
    /** r4 took the place of r1 with size 7, r5 that of r2 with size 14. */
    const inTurn = (size: number): readonly CosignerSet[] => {
      if (size <= 5) return [first]
      if (size <= 7) return [first, second]
      if (size <= 12) return [second]
      return size <= 14 ? [second, third] : [third]
    }
    /** r4, the only one left that published both. */
    async function left(): Promise<Bench> {
      const bench = new Bench('r4', { sets: inTurn })
      await bench.close({ size: 7, transition: true })
      await bench.hear('r2', 7)
      await bench.hear('r3', 7)
      await bench.close({ size: 14, transition: true }, 16)
      await bench.hear('r3', 14)
      expect(bench.sizes).toEqual([7, 14])
      return bench
    }

    it('is taken over from anyone who published it, and the newcomer signs what follows', async () => {
      const r4 = await left()
      const r5 = new Bench('r5', { sets: inTurn })
      await r5.close({ size: 7, transition: true }, { size: 14, transition: true }, 16)
      await converse(r4, r5)
      expect(r5.sizes).toEqual([7, 14, 16])
      expect(r4.sizes).toEqual([7, 14, 16])
      expect(opened(r4.published[2]!.note, third).cosignatures).toHaveLength(2)
      expect(opened(r5.published[0]!.note, first).cosignatures).toHaveLength(2)
      expect(opened(r5.published[0]!.note, second).logSignatures).toHaveLength(1)
      expect(opened(r5.published[1]!.note, second).cosignatures).toHaveLength(2)
      expect([...r4.faults, ...r5.faults]).toEqual([])
    })

    it('is published only when it is in the database', async () => {
      const r4 = await left()
      const r5 = new Bench('r5', { sets: inTurn })
      r5.publisher.closed({ size: 7, rootHash: rootOf(7), transition: true })
      await converse(r4, r5)
      expect(r5.published).toEqual([])
      r5.publisher.persisted(7)
      await turns()
      expect(r5.sizes).toEqual([7])
    })

    it('is taken with the lines that were verified and no others, and as few log lines as the sets need', async () => {
      const r4 = await left()
      const note = r4.transitions.get(7)!
      const stranger = r4.linesOf('r9', 7)
      const [r2, r3] = [r4.linesOf('r2', 7), r4.linesOf('r3', 7)]
      const again = r4.linesOf('r2', 7, { seconds: 5, log: 'other' }).cosignerLine
      const r5 = new Bench('r5', { sets: inTurn })
      await r5.close({ size: 7, transition: true })
      const crowded = [note, stranger.cosignerLine, stranger.logLine, r2.logLine, r3.logLine, again].join('')
      expect(parseNote(crowded).signatures).toHaveLength(9)
      r5.take('r4', { type: 'transitionCheckpoint', note: crowded })
      await turns()
      expect(r5.sizes).toEqual([7])
      const taken = parseNote(r5.published[0]!.note)
      expect(taken.signatures.map(({ name }) => name).sort()).toEqual(
        [names.origin, ...['r2', 'r3', 'r4'].map((name) => cosignerName(names.clusterName, toHex(idOf(name))))].sort(),
      )
      expect(opened(r5.published[0]!.note, second).cosignatures).toHaveLength(3)
    })

    it('is not taken without both quorums, a log line of each set, or when it is not the one due', async () => {
      const r4 = await left()
      const whole = r4.transitions.get(7)!
      const { text } = parseNote(whole)
      const [r1, r2, r3] = ['r1', 'r2', 'r3'].map((name) => r4.linesOf(name, 7))
      const r5 = new Bench('r5', { sets: inTurn })
      await r5.close({ size: 7, transition: true })
      // Both quorums, but not the size that is due.
      const later = ['r2', 'r3', 'r4'].map((name) => r4.linesOf(name, 9))
      const laterText = parseNote(noteOf(names, later[0]!)).text
      const bad = [
        r4.transitions.get(14)!,
        `${laterText}\n${later[0]!.logLine}${later.map(({ cosignerLine }) => cosignerLine).join('')}`,
        '',
        text,
        'no note',
        `${text}\n${r2!.logLine}`,
        `${text}\n${r2!.logLine}${r2!.cosignerLine}`,
        `${text}\n${r2!.logLine}${r2!.cosignerLine}${r2!.cosignerLine}`,
        `${text}\n${r2!.logLine}${r1!.cosignerLine}${r2!.cosignerLine}`,
        `${text}\n${r2!.cosignerLine}${r3!.cosignerLine}`,
        `${text}\n${r1!.logLine}${r2!.cosignerLine}${r3!.cosignerLine}`,
        whole.replace(names.origin, 'example.com/other'),
        whole.replace(r3!.cosignerLine, r4.linesOf('r3', 7, { log: 'other' }).cosignerLine),
      ]
      for (const note of bad) {
        r5.take('r4', { type: 'transitionCheckpoint', note })
        await turns(3)
        expect(r5.published, note).toEqual([])
      }
      expect(r5.faults).toEqual([])
      r5.take('r4', { type: 'transitionCheckpoint', note: whole })
      await turns()
      expect(r5.sizes).toEqual([7])
      r5.take('r4', { type: 'transitionCheckpoint', note: whole })
      await turns()
      expect(r5.sizes).toEqual([7])
    })

    it('stops a replica that computed another root, with the checkpoint as evidence', async () => {
      const r4 = await left()
      const r5 = new Bench('r5', { sets: inTurn })
      await r5.close({ size: 7, transition: true, log: 'other' })
      r5.take('r4', { type: 'transitionCheckpoint', note: r4.transitions.get(7)! })
      await turns()
      expect(r5.published).toEqual([])
      expect(r5.faults).toHaveLength(1)
      const { details } = r5.faults[0] as InvariantViolation
      expect(details).toMatchObject({ size: 7, own: toHex(rootOf(7, 'other')), signed: toHex(rootOf(7)) })
      expect(opened((details['notes'] as string[])[0]!, first).checkpoint.size).toBe(7)
    })
  })

  it('counts for a set only signatures under the keys that this set lists', async () => {
    const renewed: CosignerSet = {
      quorum: 2,
      members: three.members.map((member, i) =>
        i === 1 ? { ...cosignerSetOf(['r4']).members[0]!, peerId: member.peerId } : member,
      ),
    }
    const bench = new Bench('r1')
    await bench.hear('r2', 9)
    // Before size 9 is reached here, a set takes effect in which r2 has other keys.
    bench.setsFor = (size) => (size < 9 ? [three] : [renewed])
    await bench.close(9)
    expect(bench.published).toEqual([])
    await bench.hear('r3', 9)
    expect(bench.sizes).toEqual([9])
  })
})
