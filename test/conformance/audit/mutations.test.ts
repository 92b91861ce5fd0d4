/**
 * Named mutations of a trail and what an audit says of each: first those of a host that holds the files only, then
 * those of somebody who holds the keys of all replicas and can sign any history, then input that no trail ever was.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { auditTrail, trailFiles, type AuditOptions, type AuditReport } from '@cipherlog/audit'
import { CipherlogError, concatBytes, decode, encode, utf8, utf8ToString, writeU32 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  batchRecord,
  leafKinds,
  leafRecord,
  policyChain as policyChainCodec,
  signedCommandBundle,
  verdicts,
  type BatchRecord,
  type LeafRecord,
} from '@cipherlog/format'
import { cachedVerifier, createInlineVerifier } from '@cipherlog/proof'
import { keyEvent, opaque, TestCluster, Writer } from '../../../packages/machine/src/cluster.fixture.ts'
import { LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'
import {
  buildRichTrail,
  firstReplicas,
  forgeTrail,
  laterReplicas,
  noteOf,
  plainLeaf,
  storeTrail,
  witnessName,
  witnessVkey,
  type PlainLeaf,
  type RichTrail,
} from './rich-trail.ts'

type Files = Map<string, Uint8Array>

let rich: RichTrail
const verifier = cachedVerifier(createInlineVerifier(), 64)
const audit = (
  files: ReadonlyMap<string, Uint8Array | Blob>,
  options: Partial<AuditOptions> = {},
): Promise<AuditReport> => auditTrail(trailFiles(files), { trustPolicy: rich.trustPolicy, verifier, ...options })

beforeAll(async () => {
  rich = await buildRichTrail()
}, 120_000)

const copyOf = (): Files => new Map([...rich.files].map(([path, bytes]) => [path, bytes.slice()]))
const edited = (change: (files: Files) => unknown): Files => {
  const files = copyOf()
  change(files)
  return files
}
/** A path in which N stands for what the last tile holds under the checkpoint. */
const named = (text: string): string => text.replace('N', String(rich.size - 256))
const cut = (path: string, bytes: number) => (files: Files) =>
  files.set(named(path), files.get(named(path))!.slice(0, bytes < 0 ? files.get(named(path))!.length + bytes : bytes))
const codes = ({ problems }: AuditReport): string[] => problems.map(({ code }) => code)
const places = ({ problems }: AuditReport): string[] => problems.map(({ where }) => where)
const findings = ({ findings }: AuditReport): [string, string][] =>
  findings.filter(({ code }) => code !== 'unknown signature line').map(({ code, where }) => [code, where])

const kind = ({ record }: PlainLeaf): number => record[2]!
const recordOf = ({ record }: PlainLeaf): LeafRecord => decode(leafRecord, record)
const withRecord = (leaf: PlainLeaf, changes: Partial<LeafRecord>): PlainLeaf => ({
  ...leaf,
  record: encode(leafRecord, { ...recordOf(leaf), ...changes }),
})
const withBatch = (leaf: PlainLeaf, changes: Partial<BatchRecord>): PlainLeaf => ({
  ...leaf,
  record: encode(batchRecord, { ...decode(batchRecord, leaf.record), ...changes }),
})
/** The first leaf of a kind from `from` on that `accepts`. */
const find = (wanted: number, accepts: (leaf: PlainLeaf) => boolean = () => true, from = 0): number => {
  const index = rich.leaves.findIndex((leaf, i) => i >= from && kind(leaf) === wanted && accepts(leaf))
  expect(index).toBeGreaterThan(0)
  return index
}
const bundleAfter = (from: number): number => find(leafKinds.commandBundle, undefined, from)
/** Two leaves swapped, each with the log index and time of the place where it now stands. */
const swapped = (a: number, b: number): PlainLeaf[] => {
  const at = (place: number, leaf: number): PlainLeaf => {
    const { logIndex, logTime } = recordOf(rich.leaves[place]!)
    return withRecord(rich.leaves[leaf]!, { logIndex, logTime })
  }
  return rich.leaves.map((leaf, i) => (i === a ? at(a, b) : i === b ? at(b, a) : leaf))
}
const replaced = (index: number, change: (leaf: PlainLeaf) => PlainLeaf): PlainLeaf[] =>
  rich.leaves.map((leaf, i) => (i === index ? change(leaf) : leaf))
const ownNotes = (): { checkpoint: string; policyChain: Uint8Array; size: number } => ({
  checkpoint: utf8ToString(rich.files.get('checkpoint')!),
  policyChain: rich.policyChain,
  size: rich.size,
})

describe('a host with the files', () => {
  test('swaps two commands consistently: the root differs, and the replay names the first leaf out of order', async () => {
    const first = bundleAfter(60)
    const report = await audit(await storeTrail(swapped(first, first + 1), [ownNotes()]))
    expect(codes(report)).toEqual(['ERR_AUDIT_FORK', 'ERR_AUDIT_ROOT', 'ERR_SEQUENCE_GAP'])
    expect(places(report)).toEqual(['policy-chain link 0', 'checkpoint', `leaf ${first}`])
    expect(report.valid).toBe(false)
  })

  test('drops a leaf and moves up the rest: the signed size is not reached', async () => {
    const leaf = bundleAfter(60)
    const files = await storeTrail(
      rich.leaves.filter((_, i) => i !== leaf),
      [],
    )
    for (const path of ['checkpoint', 'policy-chain']) files.set(path, rich.files.get(path)!)
    const report = await audit(files)
    expect(codes(report)).toContain('ERR_AUDIT_MISSING')
    expect(report.problems[0]!.message).toContain(`covers ${rich.size} leaves`)
  })

  test.each<[string, (files: Files) => unknown, string, string]>([
    ['a truncated tile', cut('tile/0/000', 8191), 'ERR_AUDIT_TILE', 'tile/0/000'],
    ['a tile without its last hash', cut('tile/0/001.p/N', 32), 'ERR_AUDIT_TILE', 'tile/0/001.p/N'],
    ['a truncated upper tile', cut('tile/1/000.p/1', 0), 'ERR_AUDIT_TILE', 'tile/1/000.p/1'],
    ['truncated leaf records', cut('tile/entries/000', -1), 'ERR_DECODE_ENTRY_BUNDLE', 'tile/entries/000'],
    ['a truncated pack of signed bytes', cut('tile/bundle/001', -1), 'ERR_AUDIT_PACK', 'tile/bundle/001'],
    ['a truncated pack of bodies', cut('tile/body/000', -1), 'ERR_AUDIT_PACK', 'tile/body/000'],
    ['a pack without its table', cut('tile/body/001', 100), 'ERR_AUDIT_PACK', 'tile/body/001'],
    ['a truncated policy chain', cut('policy-chain', -1), 'ERR_DECODE_TRUNCATED', 'policy-chain'],
    ['a truncated checkpoint', cut('checkpoint', -1), 'ERR_DECODE_NOTE', 'checkpoint'],
    ['an empty checkpoint', cut('checkpoint', 0), 'ERR_DECODE_NOTE', 'checkpoint'],
    ['no checkpoint', (files) => files.delete('checkpoint'), 'ERR_AUDIT_MISSING', 'checkpoint'],
    ['no policy chain', (files) => files.delete('policy-chain'), 'ERR_AUDIT_MISSING', 'policy-chain'],
    ['no full tile', (files) => files.delete('tile/0/000'), 'ERR_AUDIT_MISSING', 'tile/0/000'],
    ['no partial tile', (files) => files.delete(named('tile/0/001.p/N')), 'ERR_AUDIT_MISSING', 'tile/0/001.p/N'],
    ['no upper tile', (files) => files.delete('tile/1/000.p/1'), 'ERR_AUDIT_MISSING', 'tile/1/000.p/1'],
    ['no leaf records', (files) => files.delete('tile/entries/000'), 'ERR_AUDIT_MISSING', 'tile/entries/000'],
    ['no signed bytes', (files) => files.delete('tile/bundle/000'), 'ERR_AUDIT_MISSING', 'tile/bundle/000'],
    [
      'bytes behind a finished pack',
      (files) => files.set('tile/body/000', concatBytes(files.get('tile/body/000')!, Uint8Array.of(0))),
      'ERR_AUDIT_PACK',
      'tile/body/000',
    ],
    [
      'a slot that leads into the table',
      (files) => writeU32(files.get('tile/bundle/000')!, 8 * 2, 8),
      'ERR_AUDIT_PACK',
      'tile/bundle/000',
    ],
    [
      'a slot of 4 GiB',
      (files) => writeU32(files.get('tile/body/000')!, 8 * 30 + 4, 0xffff_ffff),
      'ERR_AUDIT_PACK',
      'tile/body/000',
    ],
  ])('%s is reported', async (_, change, code, where) => {
    const report = await audit(edited(change))
    expect(report.valid).toBe(false)
    // One, for what follows from it is no news.
    expect(report.problems).toEqual([expect.objectContaining({ code, where: named(where) })])
  })

  test('a zeroed body is named with its leaf and command, and not taken for an erased one', async () => {
    const leaf = find(leafKinds.commandBundle, ({ body }) => body.length === 128 + 128)
    const body = rich.leaves[leaf]!.body
    const report = await audit(
      edited((files) => {
        const pack = files.get('tile/body/000')!
        const at = pack.findIndex((_, i) => body.every((byte, j) => pack[i + j] === byte))
        pack.fill(0, at, at + body.length)
      }),
    )
    expect(report.problems).toHaveLength(1)
    expect(report.problems[0]).toMatchObject({ code: 'ERR_AUDIT_BODY', where: `leaf ${leaf}` })
    expect(report.problems[0]!.message).toMatch(/ciphertext of command 0 .* all zeros/)
  })

  test('a changed hash and a changed record are told apart, in full and in partial tiles', async () => {
    const flip = (path: string, at: number) => (files: Files) => void (files.get(named(path))![at]! ^= 1)
    for (const [path, at, leaf, says] of [
      ['tile/0/000', 32 * 5, 5, 'tile/0/000 was changed'],
      ['tile/entries/000', 20, 0, 'the record was changed'],
      ['tile/0/001.p/N', 32 * 5, 261, 'tile/0/001.p/N was changed'],
      ['tile/entries/001.p/N', 20, 256, 'the record was changed'],
    ] as const) {
      const report = await audit(edited(flip(path, at)))
      expect(report.problems[0]).toMatchObject({ code: 'ERR_AUDIT_LEAF', where: `leaf ${leaf}` })
      expect(report.problems[0]!.message).toContain(named(says))
      expect(codes(report)).not.toContain('ERR_AUDIT_ROOT')
    }
  })

  test('damage in several files is reported in one run, without a cascade', async () => {
    const report = await audit(
      edited((files) => {
        files.get('tile/0/000')![32 * 7]! ^= 1
        files.get('tile/1/000.p/1')![3]! ^= 1
        files.get('tile/bundle/001')!.fill(0xaa, -10)
        files.get('tile/body/000')![60_000]! ^= 1
      }),
    )
    expect(new Set(codes(report))).toEqual(
      new Set(['ERR_AUDIT_LEAF', 'ERR_AUDIT_TILE', 'ERR_AUDIT_DIGEST', 'ERR_AUDIT_BODY']),
    )
    expect(report.problems).toHaveLength(4)
    expect(findings(report)).toEqual([['not replayed', 'leaf 0']])
    expect(report.complete).toBe(false)
  })

  test('files that do not belong are findings, and names cannot drive a terminal', async () => {
    const strange = [
      'notes.txt',
      'tile/0/0',
      'tile/entries/000.p/256',
      'tile/64/000',
      'tile/x\u001b[2J\u202e',
      'a'.repeat(5000),
    ]
    const report = await audit(edited((files) => strange.forEach((path) => files.set(path, utf8('x')))))
    expect(report.valid).toBe(true)
    expect(findings(report).map(([code]) => code)).toEqual(strange.map(() => 'unknown file'))
    const text = JSON.stringify(report.findings)
    expect(text).toContain('tile/x\\\\u{1b}[2J\\\\u{202e}')
    expect(text.length).toBeLessThan(6000)
  })

  test('a partial tile that is shorter than its name says, or differs, is a finding', async () => {
    const partial = (tile: string): string => [...rich.files.keys()].find((path) => path.startsWith(`${tile}.p/`))!
    const paths = ['tile/entries/000', 'tile/0/000', 'tile/0/001'].map(partial) as [string, string, string]
    const report = await audit(
      edited((files) => {
        cut(paths[0], -5)(files)
        cut(paths[1], 0)(files)
        files.get(paths[2])![1]! ^= 1
      }),
    )
    expect(report.valid).toBe(true)
    expect(findings(report)).toEqual(paths.map((path) => ['redundant file differs', path]))
  })

  test("another cluster's checkpoint, or whole trail, is refused", async () => {
    const other = await TestCluster.build({ limits: { sessionsPerClientMax: 4 } })
    const driver = await LedgerDriver.start(other)
    const { size, rootHash } = driver.closed.at(-1)!
    const note = noteOf(driver.ledger.origin, { treeSize: size, rootHash }, { cosigners: firstReplicas })
    const report = await audit(edited((files) => files.set('checkpoint', utf8(note))))
    expect(codes(report)).toEqual(['ERR_POLICY_ORIGIN'])
    const policyChain = driver.ledger.registry.policyChain(() => undefined)
    const whole = await storeTrail(driver.leaves.map(plainLeaf), [{ size, checkpoint: note, policyChain }])
    expect(codes(await audit(whole))).toEqual(['ERR_POLICY_GENESIS'])
    expect(await audit(whole, { trustPolicy: { ...rich.trustPolicy, cluster: other.id } })).toMatchObject({
      valid: true,
      complete: true,
    })
  })

  test('a checkpoint by too few cosigners does not count', async () => {
    const last = { treeSize: rich.size, rootHash: rich.rootHash }
    const few = noteOf(rich.origin, last, { cosigners: ['r4'] })
    expect(
      codes(await audit(edited((files) => files.set('checkpoint', utf8(few)).delete('checkpoint.witnessed')))),
    ).toEqual(['ERR_POLICY_QUORUM'])
    const formerSet = noteOf(rich.origin, last, { cosigners: ['r1', 'r2'] })
    const report = await audit(
      edited((files) => files.set('checkpoint', utf8(formerSet)).delete('checkpoint.witnessed')),
    )
    expect(codes(report)).toEqual(['ERR_POLICY_ORIGIN'])
  })

  test('lines that no verifier looks at are named in every note', async () => {
    const { findings } = await audit(rich.files)
    expect(findings.map(({ code, where }) => `${code}: ${where}`)).toEqual([
      'unknown signature line: policy-chain link 0 line 11',
      'unknown signature line: checkpoint line 9',
      'unknown signature line: checkpoint.witnessed line 11',
    ])
  })

  test('a bad line of a known key is named by its number; a second line by one key is a finding', async () => {
    const lines = utf8ToString(rich.files.get('checkpoint')!).split('\n')
    // Text of 3 lines, a blank one, the log's line, then the cosigners.
    const bad = lines.map((line, i) =>
      i === 6 ? line.replace(/.(?=.{20}$)/, (digit) => (digit === 'A' ? 'B' : 'A')) : line,
    )
    const report = await audit(edited((files) => files.set('checkpoint', utf8(bad.join('\n')))))
    expect(report.problems[0]).toMatchObject({ where: 'checkpoint line 7', code: 'ERR_VERIFY_NOTE_SIGNATURE' })
    const twice = [...lines.slice(0, 6), lines[5]!, ...lines.slice(6)]
    const repeated = await audit(edited((files) => files.set('checkpoint', utf8(twice.join('\n')))))
    expect(repeated.valid).toBe(true)
    expect(findings(repeated)).toEqual([['repeated signature line', 'checkpoint line 7']])
  })

  test('an old checkpoint is valid, unless the auditor knows a newer one', async () => {
    const old = rich.checkpoints[2]!
    const files = edited((files) =>
      files
        .set('checkpoint', utf8(noteOf(rich.origin, old, { cosigners: firstReplicas })))
        .delete('checkpoint.witnessed'),
    )
    const newest = { treeSize: rich.size, rootHash: rich.rootHash }
    const report = await audit(files, { earlier: [rich.checkpoints[1]!] })
    expect(report).toMatchObject({ valid: true, complete: true, treeSize: old.treeSize, leavesReplayed: old.treeSize })
    expect(new Set(findings(report).map(([code]) => code))).toEqual(new Set(['beyond the checkpoint']))
    expect(findings(report).map(([, where]) => where)).toEqual(
      expect.arrayContaining(['tile/0/000', 'tile/entries/000', 'tile/bundle/000', 'tile/1/000.p/1', 'policy-chain']),
    )
    for (const options of [{ earlier: [newest] }, { trustPolicy: { ...rich.trustPolicy, start: newest } }]) {
      expect(codes(await audit(files, options))).toEqual(['ERR_AUDIT_ROLLED_BACK'])
    }
  })

  test('without the partial tiles of its size, a checkpoint is verified against wider ones', async () => {
    const old = rich.checkpoints[2]!
    const files = edited((files) => {
      files.set('checkpoint', utf8(noteOf(rich.origin, old, { cosigners: firstReplicas })))
      files.delete('checkpoint.witnessed')
      for (const row of ['tile/0', 'tile/entries']) {
        expect(files.delete(`${row}/000.p/${old.treeSize}`)).toBe(true)
        files.delete(`${row}/000`)
      }
    })
    expect(await audit(files)).toMatchObject({ valid: true, complete: true, treeSize: old.treeSize })
    // The narrowest that is wide enough is the one that counts.
    const wider = rich.checkpoints[3]!.treeSize
    files.get(`tile/0/000.p/${wider}`)![32 * 3]! ^= 1
    expect(codes(await audit(files))).toEqual(['ERR_AUDIT_LEAF'])
  })

  test('a policy chain with a set left out, or moved to another leaf, is noticed', async () => {
    const [genesis, links] = decode(policyChainCodec, rich.policyChain)
    const leaf = links[0]!.leafIndex
    const without = encode(policyChainCodec, [genesis, []])
    const left = await audit(edited((files) => files.set('policy-chain', without).delete('checkpoint.witnessed')))
    expect(left.problems).toContainEqual(
      expect.objectContaining({ code: 'ERR_AUDIT_POLICY_CHAIN', where: `leaf ${leaf}` }),
    )
    const raised = encode(policyChainCodec, [genesis, [{ ...links[0]!, leafIndex: leaf + 1 }]])
    const moved = await audit(edited((files) => files.set('policy-chain', raised)))
    expect(codes(moved)).toEqual(['ERR_AUDIT_POLICY_CHAIN', 'ERR_AUDIT_POLICY_CHAIN'])
    expect(places(moved)).toEqual([`leaf ${leaf}`, `leaf ${leaf + 1}`])
  })
})

describe('a trail without bodies', () => {
  const bodiless = (files: Files): Files => {
    for (const path of [...files.keys()]) if (path.startsWith('tile/body/')) files.delete(path)
    return files
  }

  test('is valid, incomplete, and says what was not checked', async () => {
    const report = await audit(edited(bodiless))
    expect(report).toMatchObject({ valid: true, complete: false, treeSize: rich.size })
    expect(report.leavesReplayed).toBeLessThan(rich.size)
    expect(findings(report)).toEqual([
      ['bodies not available', 'tile/body/000'],
      ['bodies not available', 'tile/body/001'],
    ])
  })

  test.each<[string, () => PlainLeaf[], RegExp]>([
    [
      'a bundle that its client has not signed',
      () => replaced(bundleAfter(100), forgedSignature),
      /not that of client/,
    ],
    ['two bundles of a session swapped', () => swapped(bundleAfter(100), bundleAfter(100) + 1), /Sequence/],
    [
      'a key event twice',
      () => {
        const event = find(leafKinds.keyEvent, undefined, 30)
        return replaced(bundleAfter(100), (leaf) =>
          withRecord({ ...rich.leaves[event]!, record: rich.leaves[event]!.record }, placeOf(leaf)),
        )
      },
      /repeats key event/,
    ],
    [
      'a session opening again',
      () => {
        const opening = rich.leaves[find(leafKinds.sessionOpening)]!
        return replaced(bundleAfter(100), (leaf) => withRecord(opening, placeOf(leaf)))
      },
      /Session 1 does not follow session 1/,
    ],
    [
      'a batch record with another registry head',
      () =>
        replaced(find(leafKinds.batchRecord, undefined, 100), (leaf) =>
          withBatch(leaf, { registryHead: { number: 3, digest: new Uint8Array(32) } }),
        ),
      /registryHead/,
    ],
  ])('even signed by all replicas, %s is noticed', async (_, leaves, says) => {
    const report = await audit(bodiless(await forgeTrail(rich, leaves())))
    expect(report.valid).toBe(false)
    expect(report.problems[0]!.message).toMatch(says)
    expect(report.problems[0]!.where).toMatch(/^leaf \d+$/)
  })

  test('what it takes on the cosigners’ word: verdicts', async () => {
    const leaf = bundleAfter(100)
    const edited = replaced(leaf, (one) => withRecord(one, { verdicts: [verdicts.grant] }))
    expect(await audit(bodiless(await forgeTrail(rich, edited)))).toMatchObject({ valid: true, complete: false })
  })
})

const placeOf = (leaf: PlainLeaf): Pick<LeafRecord, 'logIndex' | 'logTime'> => {
  const { logIndex, logTime } = recordOf(leaf)
  return { logIndex, logTime }
}

/** The same bundle under a signature that is none, with a record that fits. */
function forgedSignature(leaf: PlainLeaf): PlainLeaf {
  const [bytes, signature] = decode(signedCommandBundle, leaf.signed)
  const signed = encode(signedCommandBundle, [bytes, signature.slice().reverse()])
  return withRecord({ ...leaf, signed }, { digest: sha256(signed) })
}

describe('somebody with the keys of all replicas', () => {
  test('can sign the same history again, and it is valid', async () => {
    expect(await audit(await forgeTrail(rich, rich.leaves))).toMatchObject({ valid: true, complete: true })
  })

  test.each<[string, () => PlainLeaf[], string, RegExp]>([
    [
      'a verdict changed from applied to rejected',
      () => replaced(bundleAfter(100), (leaf) => withRecord(leaf, { verdicts: [verdicts.grant] })),
      'ERR_AUDIT_REPLAY',
      /Command 0 is recorded as grant, the rules give applied/,
    ],
    [
      'a bad proof waved through',
      () => {
        const leaf = find(leafKinds.commandBundle, (one) => recordOf(one).verdicts![0] === verdicts.proof)
        return replaced(leaf, (one) => withRecord(one, { verdicts: [0, 0] }))
      },
      'ERR_AUDIT_REPLAY',
      /Command 0 is recorded as applied, the rules give proof/,
    ],
    [
      'two commands of a session swapped',
      () => swapped(bundleAfter(60), bundleAfter(60) + 1),
      'ERR_SEQUENCE_GAP',
      /gap/,
    ],
    [
      "a client's command forged",
      () => replaced(bundleAfter(60), forgedSignature),
      'ERR_SIGNATURE',
      /signature is not the client's/,
    ],
    [
      'another sum in the state root',
      () =>
        replaced(find(leafKinds.batchRecord, undefined, 60), (leaf) =>
          withBatch(leaf, { stateRoot: [1, new Uint8Array(32)] }),
        ),
      'ERR_AUDIT_REPLAY',
      /another stateRoot/,
    ],
    [
      'another registry head',
      () =>
        replaced(find(leafKinds.batchRecord, undefined, 60), (leaf) =>
          withBatch(leaf, { registryHead: { number: 1, digest: new Uint8Array(32) } }),
        ),
      'ERR_AUDIT_REPLAY',
      /another registryHead/,
    ],
    [
      'a log index used twice',
      () => {
        const leaf = bundleAfter(60)
        return replaced(leaf + 1, (one) => withRecord(one, { logIndex: recordOf(rich.leaves[leaf]!).logIndex }))
      },
      'ERR_AUDIT_REPLAY',
      /Log index \d+ does not follow/,
    ],
    [
      'log time that goes back',
      () => replaced(bundleAfter(60), (one) => withRecord(one, { logTime: recordOf(one).logTime - 1000 })),
      'ERR_AUDIT_REPLAY',
      /Log time goes back/,
    ],
    [
      'a genesis of a later leaf’s kind',
      () =>
        replaced(bundleAfter(60), (one) => ({
          ...rich.leaves[0]!,
          record: withRecord(rich.leaves[0]!, placeOf(one)).record,
        })),
      'ERR_KIND',
      /kind 0 cannot be proposed/,
    ],
  ])('%s is named by its leaf', async (_, leaves, code, says) => {
    const report = await audit(await forgeTrail(rich, leaves()))
    expect(report.valid).toBe(false)
    expect(report.problems).toHaveLength(1)
    expect(report.problems[0]).toMatchObject({ code, where: expect.stringMatching(/^leaf \d+$/) })
    expect(report.problems[0]!.message).toMatch(says)
  })

  test('a full batch that goes on is noticed, with bodies and without', async () => {
    const full = find(leafKinds.batchRecord, (leaf) => decode(batchRecord, leaf.record).leafCount === 255)
    const files = await forgeTrail(
      rich,
      rich.leaves.filter((_, i) => i !== full),
    )
    const expected = {
      code: 'ERR_AUDIT_REPLAY',
      where: `leaf ${full}`,
      message: expect.stringContaining('must stand here'),
    }
    expect((await audit(files)).problems).toContainEqual(expected)
    files.delete('tile/body/000')
    expect((await audit(files)).problems).toContainEqual(expected)
  })

  test('an opening whose client saw another history is out of place after a rewrite', async () => {
    // The second session's opening names size 2, so every history must share its genesis; a made-up root is `seen`.
    const leaf = find(leafKinds.sessionOpening, (one) => recordOf(one).verdicts![0] === verdicts.seen)
    const report = await audit(
      await forgeTrail(
        rich,
        replaced(leaf, (one) => withRecord(one, { verdicts: [0] })),
      ),
    )
    expect(report.problems).toEqual([expect.objectContaining({ code: 'ERR_AUDIT_REPLAY', where: `leaf ${leaf}` })])
  })

  test('another cluster’s genesis in leaf 0 is noticed', async () => {
    const other = await TestCluster.build({ limits: { sessionsPerClientMax: 4 } })
    const { leaves } = await LedgerDriver.fromGenesis(other)
    const report = await audit(await forgeTrail(rich, leaves.map(plainLeaf)))
    expect(report.problems[0]).toMatchObject({ code: 'ERR_AUDIT_POLICY_CHAIN', where: 'leaf 0' })
    expect(codes(report)).toContain('ERR_AUDIT_GENESIS')
  })

  test('bytes that nobody signed are found beside a batch record, and beside a key event', async () => {
    for (const [index, change, code] of [
      [1, (leaf: PlainLeaf) => ({ ...leaf, signed: utf8('x') }), 'ERR_AUDIT_DIGEST'],
      [1, (leaf: PlainLeaf) => ({ ...leaf, body: utf8('x') }), 'ERR_AUDIT_BODY'],
      [0, (leaf: PlainLeaf) => ({ ...leaf, body: utf8('x') }), 'ERR_AUDIT_BODY'],
      [2, (leaf: PlainLeaf) => ({ ...leaf, body: utf8('x') }), 'ERR_AUDIT_BODY'],
    ] as const) {
      const report = await audit(await forgeTrail(rich, replaced(index, change)))
      expect(report.problems).toEqual([expect.objectContaining({ code, where: `leaf ${index}` })])
    }
  })

  test('a checkpoint must end with a batch record, and cover something', async () => {
    const open = await forgeTrail(rich, rich.leaves.slice(0, 30))
    expect(codes(await audit(open))).toContain('ERR_AUDIT_CHECKPOINT')
    const empty = noteOf(
      rich.origin,
      { treeSize: 0, rootHash: sha256(new Uint8Array(0)) },
      { cosigners: firstReplicas },
    )
    const files = edited((files) => files.set('checkpoint', utf8(empty)).delete('checkpoint.witnessed'))
    expect(codes(await audit(files))).toEqual(['ERR_AUDIT_CHECKPOINT'])
  })

  test('unnoticed by an audit alone, as THREAT_MODEL says: commands of two clients swapped. An earlier checkpoint shows it', async () => {
    const [a, b] = independentNeighbours()
    const files = await forgeTrail(rich, swapped(a, b))
    expect(await audit(files)).toMatchObject({ valid: true, complete: true })
    const known = rich.checkpoints.find(({ treeSize }) => treeSize > b)!
    expect(codes(await audit(files, { earlier: [known] }))).toEqual(['ERR_AUDIT_FORK'])
    expect(codes(await audit(files, { trustPolicy: { ...rich.trustPolicy, start: known } }))).toEqual([
      'ERR_AUDIT_FORK',
    ])
  })
})

/** The envelopes of alice and bob: two bundles of different clients, one after the other, in one batch. */
function independentNeighbours(): [number, number] {
  const a = bundleAfter(2)
  expect(recordOf(rich.leaves[a]!).client).not.toEqual(recordOf(rich.leaves[a + 1]!).client)
  return [a, a + 1]
}

describe('changes of cosigners', () => {
  const bothSets = { logKeys: ['r1', 'r4'], cosigners: [...firstReplicas, 'r4'] }

  test('a transition that is put off to a later batch is noticed, whoever signs it', async () => {
    const [genesis, links] = decode(policyChainCodec, rich.policyChain)
    const note = noteOf(rich.origin, { treeSize: rich.size, rootHash: rich.rootHash }, bothSets)
    const late = encode(policyChainCodec, [genesis, [{ ...links[0]!, transitionCheckpoint: note }]])
    const files = edited((files) => files.set('policy-chain', late).set('checkpoint', utf8(note)))
    files.delete('checkpoint.witnessed')
    const report = await audit(files)
    expect(report.problems).toEqual([
      expect.objectContaining({ code: 'ERR_AUDIT_POLICY_CHAIN', where: `leaf ${links[0]!.leafIndex}` }),
    ])
    expect(report.problems[0]!.message).toContain(`ends at size ${rich.transitionSize}`)
  })

  test('one after the other, with bodies and without', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    await driver.apply(alice.bundle([alice.put('a', opaque('no envelope', 32))]))
    const sets = [firstReplicas, laterReplicas, ['r3', 'r4', 'r5']]
    const { origin, registry } = driver.ledger
    const notes = new Map<number, string>()
    for (let i = 1; i < sets.length; i++) {
      await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(sets[i]!))))
      const { size, rootHash } = (await driver.mark())!
      const [before, after] = [sets[i - 1]!, sets[i]!]
      const cosigners = [...new Set([...before, ...after])]
      const signers = { logKeys: [before[0]!, after.at(-1)!], cosigners }
      notes.set(size, noteOf(origin, { treeSize: size, rootHash }, signers))
    }
    const [size, checkpoint] = [...notes].at(-1)!
    const policyChain = registry.policyChain((transition) => notes.get(transition))
    const files = await storeTrail(driver.leaves.map(plainLeaf), [{ size, checkpoint, policyChain }])
    const options = { trustPolicy: { ...rich.trustPolicy, cluster: cluster.id } }
    expect(await audit(files, options)).toMatchObject({ valid: true, complete: true, findings: [] })
    files.delete('tile/body/000')
    expect(await audit(files, options)).toMatchObject({ valid: true, complete: false, problems: [] })
  })
})

describe('outside witnesses', () => {
  const trustPolicy = () => ({ ...rich.trustPolicy, witnesses: [witnessVkey(witnessName)], witnessesRequired: 1 })

  test('the newest note that they have signed is what is audited', async () => {
    const last = { treeSize: rich.size, rootHash: rich.rootHash }
    const unwitnessed = utf8(noteOf(rich.origin, last, { cosigners: laterReplicas }))
    const files = edited((files) => files.set('checkpoint', unwitnessed))
    const report = await audit(files, { trustPolicy: trustPolicy() })
    expect(report).toMatchObject({ valid: true, complete: true, treeSize: rich.transitionSize })
    expect(findings(report)).toContainEqual(['not witnessed yet', 'checkpoint'])
    files.delete('checkpoint.witnessed')
    expect(codes(await audit(files, { trustPolicy: trustPolicy() }))).toEqual(['ERR_POLICY_WITNESSES'])
  })

  test('with the witness in the policy no line is unknown', async () => {
    const report = await audit(rich.files, { trustPolicy: trustPolicy() })
    expect(report).toMatchObject({ valid: true, complete: true, treeSize: rich.size, findings: [] })
  })

  test('checkpoint.witnessed of another history is a fork', async () => {
    const other = { treeSize: rich.transitionSize, rootHash: new Uint8Array(32).fill(7) }
    const note = noteOf(rich.origin, other, { logKeys: ['r1', 'r4'], cosigners: [...firstReplicas, 'r4'] })
    const report = await audit(edited((files) => files.set('checkpoint.witnessed', utf8(note))))
    // At a transition size the policy chain has the root as well, so the note itself is refused.
    expect(codes(report)).toEqual(['ERR_VERIFY_SPLIT_VIEW'])
    const earlier = { treeSize: rich.checkpoints[1]!.treeSize, rootHash: new Uint8Array(32).fill(7) }
    const forked = utf8(noteOf(rich.origin, earlier, { cosigners: firstReplicas }))
    expect(codes(await audit(edited((files) => files.set('checkpoint.witnessed', forked))))).toEqual(['ERR_AUDIT_FORK'])
  })
})

describe('input that no trail ever was', () => {
  test('a signed size of 2^53 − 1 ends where the files end', async () => {
    const huge = { treeSize: Number.MAX_SAFE_INTEGER, rootHash: rich.rootHash }
    const note = utf8(noteOf(rich.origin, huge, { cosigners: laterReplicas, timeSeconds: 1_700_000_000 }))
    const report = await audit(edited((files) => files.set('checkpoint', note)))
    expect(codes(report)).toContain('ERR_AUDIT_MISSING')
    expect(report.problems.length).toBeLessThan(10)
  })

  test('a tile index of 2^50, levels up to 63 and thousands of files are findings', async () => {
    const report = await audit(
      edited((files) => {
        files.set('tile/0/x001/x125/x899/x906/x842/624', new Uint8Array(8192))
        files.set('tile/entries/x001/x125/x899/x906/x842/624.p/3', new Uint8Array(6))
        files.set('tile/63/000.p/1', new Uint8Array(32))
        for (let i = 0; i < 5000; i++) files.set(`junk/${i}`, new Uint8Array(0))
      }),
    )
    expect(report.valid).toBe(true)
    expect(report.findings).toHaveLength(1001)
    expect(report.findings.at(-1)).toMatchObject({ code: 'more remarks' })
  })

  test('thousands of problems are cut too, and the report stays invalid', async () => {
    const report = await audit(edited((files) => files.get('tile/0/000')!.fill(1)))
    expect(codes(report).filter((code) => code === 'ERR_AUDIT_LEAF')).toHaveLength(256)
  })

  test('files that cannot be read, or have another length than listed, are named and never crash the audit', async () => {
    const source = trailFiles(rich.files)
    for (const path of rich.files.keys()) {
      for (const read of [
        () => Promise.reject(new CipherlogError('ERR_AUDIT_SOURCE', 'EACCES')),
        () => Promise.resolve(new Uint8Array(1)),
      ]) {
        const report = await auditTrail(
          {
            list: () => source.list(),
            read: (file, ...range) => (file === path ? read() : source.read(file, ...range)),
          },
          { trustPolicy: rich.trustPolicy, verifier, replay: false },
        )
        expect(report.problems).toContainEqual(expect.objectContaining({ code: 'ERR_AUDIT_SOURCE', where: path }))
      }
    }
  })

  test('sizes above every limit are refused unread', async () => {
    const source = trailFiles(rich.files)
    const listed = await source.list()
    for (const [path, code] of [
      ['checkpoint', 'ERR_AUDIT_LIMIT'],
      ['policy-chain', 'ERR_AUDIT_LIMIT'],
      ['tile/0/000', 'ERR_AUDIT_LIMIT'],
      ['tile/entries/000', 'ERR_AUDIT_LIMIT'],
      ['tile/bundle/000', 'ERR_AUDIT_PACK'],
      ['tile/body/000', 'ERR_AUDIT_PACK'],
    ] as const) {
      const report = await auditTrail(
        {
          list: () => Promise.resolve(listed.map((file) => (file.path === path ? { path, bytes: 2 ** 50 } : file))),
          read(file, start, length) {
            expect(length).toBeLessThan(2 ** 24)
            return source.read(file, start, length)
          },
        },
        { trustPolicy: rich.trustPolicy, verifier, replay: false },
      )
      expect(report.problems).toContainEqual(expect.objectContaining({ code, where: path }))
    }
  })

  test('what is no plain file is a finding, and then missing', async () => {
    const source = trailFiles(rich.files)
    const listed = await source.list()
    const report = await auditTrail(
      {
        ...source,
        list: () =>
          Promise.resolve(
            listed.map((file) => (file.path === 'tile/0/000' ? { path: file.path, bytes: undefined } : file)),
          ),
      },
      { trustPolicy: rich.trustPolicy, verifier, replay: false },
    )
    expect(findings(report)).toContainEqual(['unknown file', 'tile/0/000'])
    expect(report.problems).toContainEqual(expect.objectContaining({ code: 'ERR_AUDIT_MISSING' }))
  })

  test('a source that changes between the passes is noticed', async () => {
    const source = trailFiles(rich.files)
    for (const [path, change, expected] of [
      ['tile/entries/000', (bytes: Uint8Array) => bytes.slice().fill(0xff, 2, 40), ['ERR_DECODE_TYPE']],
      ['tile/body/001', (bytes: Uint8Array) => bytes.map((byte) => byte ^ 1), ['ERR_AUDIT_PACK', 'ERR_AUDIT_SOURCE']],
      ['tile/bundle/000', (bytes: Uint8Array) => bytes.map((byte) => byte ^ 1), ['ERR_AUDIT_PACK', 'ERR_AUDIT_SOURCE']],
    ] as const) {
      let replaying = false
      const report = await auditTrail(
        {
          ...source,
          async read(file, start, length) {
            const bytes = await source.read(file, start, length)
            return replaying && file === path ? change(bytes) : bytes
          },
        },
        {
          trustPolicy: rich.trustPolicy,
          verifier,
          onProgress: ({ step, done, total }) => (replaying ||= step === 'files' && done === total),
        },
      )
      expect(codes(report)).toEqual(expected)
    }
  })
})

test('progress: every leaf of each step, up to its total', async () => {
  const seen: string[] = []
  await audit(rich.files, { onProgress: ({ step, done, total }) => seen.push(`${step} ${done}/${total}`) })
  const expected = (step: string): string[] => rich.leaves.map((_, i) => `${step} ${i + 1}/${rich.size}`)
  expect(seen).toEqual([...expected('files'), ...expected('replay')])
})

test('a browser’s files (Blobs) are audited like bytes', async () => {
  const blobs = new Map([...rich.files].map(([path, bytes]) => [path, new Blob([new Uint8Array(bytes)])]))
  expect(await audit(blobs)).toMatchObject({ valid: true, complete: true })
})
