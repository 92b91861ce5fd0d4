import { decode, encode } from '@cipherlog/core'
import { policyChain as policyChainCodec, type PolicyChainLink, type TrustPolicy } from '@cipherlog/format'
import { origin as originOf } from '@cipherlog/merkle/verify'
import { describe, expect, test } from 'vitest'
import {
  addClient,
  cluster,
  codeOf,
  cosignerSetEvent,
  cosignerSetOf,
  ExampleCluster,
  genesisOf,
  genesisSecrets,
  name,
  origin,
  rootOf,
  signedEvent,
  signedGenesis,
  trustPolicyOf,
  witnessVkey,
} from './example-cluster.fixture.ts'
import { signGenesis } from './genesis.ts'
import { openPolicyChain } from './policy.ts'

const old = ['r1', 'r2', 'r3']
const young = ['r3', 'r4', 'r5']

/** Genesis, a first cosigner set, later a second one; a batch before, between and after. */
const example = new ExampleCluster()
example.apply(addClient('wanda'))
const sizeBefore = example.closeBatch()
example.apply(cosignerSetEvent(young))
const eventLeaf = example.leaves.length - 1
example.apply(addClient('walter'))
const transition = example.closeBatch()
example.notes.set(transition, example.note(transition, { replicas: ['r1', 'r2', 'r4', 'r5'], logs: ['r1', 'r4'] }))
example.apply(addClient('willa'))
const sizeAfter = example.closeBatch()
const chain = example.policyChain()
const [, [link]] = decode(policyChainCodec, chain) as [Uint8Array, [PolicyChainLink]]

const chainOf = (...links: PolicyChainLink[]) => encode(policyChainCodec, [signedGenesis, links])
const open = (bytes = chain, changes: Partial<TrustPolicy> = {}) => openPolicyChain(bytes, trustPolicyOf(changes))
const chainRefusal = (bytes: Uint8Array, changes: Partial<TrustPolicy> = {}) => codeOf(() => open(bytes, changes))
const view = open()
const noteRefusal = (note: string, by = view) => codeOf(() => by.verifyCheckpoint(note))

describe('openPolicyChain()', () => {
  test('derives the set of every size', () => {
    expect(view.origin).toBe(origin)
    expect(view.setsFor(sizeBefore)).toEqual([cosignerSetOf(old)])
    expect(view.setsFor(transition)).toEqual([cosignerSetOf(old), cosignerSetOf(young)])
    expect(view.setsFor(sizeAfter)).toEqual([cosignerSetOf(young)])
    expect(view.cosignerSets[1]).toMatchObject({ eventNumber: 2, eventLeaf, transitionSize: transition })
  })

  test('agrees with the registry that published the chain', () => {
    for (let size = 2; size <= sizeAfter; size++) expect(view.setsFor(size)).toEqual(example.registry.setsFor(size))
  })

  test('a set is left out of the chain until there is its transition checkpoint', () => {
    const pending = new ExampleCluster()
    pending.apply(cosignerSetEvent(young))
    expect(decode(policyChainCodec, pending.policyChain())[1]).toEqual([])
    pending.closeBatch()
    expect(decode(policyChainCodec, pending.policyChain())[1]).toEqual([])
  })

  test('refuses another genesis than the pinned one', () => {
    const other = signGenesis(genesisOf({ createdAt: 1 }), genesisSecrets())
    expect(chainRefusal(encode(policyChainCodec, [other, []]))).toBe('ERR_POLICY_GENESIS')
    expect(chainRefusal(chain, { cluster: new Uint8Array(32) })).toBe('ERR_POLICY_GENESIS')
  })

  test('refuses groups and generations that nothing leads to', () => {
    expect(chainRefusal(chain, { group: new Uint8Array(16).fill(1) })).toBe('ERR_POLICY_ORIGIN')
    expect(chainRefusal(chain, { generation: 1 })).toBe('ERR_POLICY_GENERATION')
  })

  test('refuses a witness that belongs to the cluster', () => {
    expect(chainRefusal(chain, { witnesses: [witnessVkey('r5 cosigner')] })).toBe('ERR_POLICY_WITNESSES')
    expect(chainRefusal(chain, { witnesses: [witnessVkey('wendy')] })).toBeUndefined()
  })

  const withNote = (note: string): PolicyChainLink => ({ ...link, transitionCheckpoint: note })
  const note = (options: Partial<Parameters<ExampleCluster['note']>[1]>, size = transition) =>
    example.note(size, { replicas: ['r1', 'r2', 'r4', 'r5'], logs: ['r1', 'r4'], ...options })
  const clientEvent = decode(policyChainCodec, chainOf({ ...link, event: example.signedEvents[1]! }))[1][0]!

  test.each<[string, PolicyChainLink[]]>([
    ['no-transition-note', [{ event: link.event, origin, leafIndex: link.leafIndex }]],
    ['note-without-old-quorum', [withNote(note({ replicas: ['r1', 'r4', 'r5'] }))]],
    ['note-without-new-quorum', [withNote(note({ replicas: ['r1', 'r2', 'r4'] }))]],
    ['note-without-old-log-key', [withNote(note({ logs: ['r4'] }))]],
    ['note-without-new-log-key', [withNote(note({ logs: ['r1'] }))]],
    [
      'note-of-another-origin',
      [withNote(note({ origin: originOf({ name: 'evil', cluster, group: new Uint8Array(16), generation: 0 }) }))],
    ],
    ['garbage-note', [withNote('checkpoint')]],
    ['other-origin', [{ ...link, origin: `${origin}0` }]],
    ['event-that-sets-no-cosigners', [{ ...clientEvent, transitionCheckpoint: link.transitionCheckpoint }]],
    ['repeated-link', [link, link]],
    ['undecodable-event', [{ ...link, event: Uint8Array.of(0) }]],
    [
      'event-signed-by-one-operator',
      [{ ...link, event: signedEvent(after(1), cosignerSetEvent(young), { operators: [0] }) }],
    ],
    ['set-of-a-minority', [{ ...link, event: signedEvent(after(1), cosignerSetEvent(young, 1)) }]],
    [
      'event-one-that-follows-another-genesis',
      [
        {
          ...link,
          event: signedEvent(
            { cluster, operatorSetVersion: 0, head: { number: 0, digest: new Uint8Array(32) } },
            cosignerSetEvent(young),
          ),
        },
      ],
    ],
    [
      'event-of-another-cluster',
      [{ ...link, event: signedEvent({ ...after(1), cluster: new Uint8Array(32) }, cosignerSetEvent(young)) }],
    ],
    ['leaf-raised-to-the-transition', [{ ...link, leafIndex: transition - 1 }]],
    ['leaf-raised-far', [{ ...link, leafIndex: sizeAfter + 1000 }]],
    ['leaf-before-what-its-signers-saw', [{ ...link, leafIndex: 1 }]],
  ])('refuses a chain with %s', (_, links) => {
    expect(chainRefusal(chainOf(...links))).toBe('ERR_VERIFY_POLICY_CHAIN')
  })

  test('a transition note may come late in a batch of 255 leaves, and no later', () => {
    const at = (size: number) =>
      chainRefusal(chainOf({ ...withNote(note({ rootHash: new Uint8Array(32) }, size)), leafIndex: 2 }))
    expect(at(2 + 256)).toBeUndefined()
    expect(at(2 + 257)).toBe('ERR_VERIFY_POLICY_CHAIN')
  })

  test('refuses what is no policy chain', () => {
    expect(chainRefusal(new Uint8Array(0))).toMatch(/^ERR_DECODE_/)
    expect(chainRefusal(chain.slice(0, -1))).toMatch(/^ERR_DECODE_/)
  })

  test('refuses a link whose number is below that of the link before, wherever it claims to stand', () => {
    const linkAt = (number: number, replicas: string[], size: number, signers: string[], logs: string[]) => ({
      event: signedEvent(
        { cluster, operatorSetVersion: 0, head: { number: number - 1, digest: new Uint8Array(32) } },
        cosignerSetEvent(replicas),
      ),
      origin,
      leafIndex: size - 2,
      transitionCheckpoint: example.note(size, { replicas: signers, logs, rootHash: new Uint8Array(32) }),
    })
    const first = (number: number) => linkAt(number, young, 50, ['r1', 'r2', 'r4', 'r5'], ['r1', 'r4'])
    const second = linkAt(5, ['r5', 'r6', 'r7'], 60, ['r4', 'r5', 'r6', 'r7'], ['r4', 'r7'])
    expect(chainRefusal(chainOf(first(3), second))).toBeUndefined()
    expect(chainRefusal(chainOf(first(5), second))).toBe('ERR_VERIFY_POLICY_CHAIN')
    expect(chainRefusal(chainOf(first(7), second))).toBe('ERR_VERIFY_POLICY_CHAIN')
  })

  test('follows several sets, and refuses them in another order', () => {
    const third = ['r5', 'r6', 'r7']
    const long = new ExampleCluster()
    for (const [from, to] of [
      [old, young],
      [young, third],
    ] as const) {
      long.apply(cosignerSetEvent(to))
      const size = long.closeBatch()
      const replicas = [...new Set([...from.slice(0, 2), ...to.slice(0, 2), ...from, ...to])]
      long.notes.set(size, long.note(size, { replicas, logs: [from[0]!, to[1]!] }))
    }
    const links = decode(policyChainCodec, long.policyChain())[1]
    expect(open(long.policyChain()).setsFor(1000)).toEqual([cosignerSetOf(third)])
    expect(chainRefusal(chainOf(links[1]!, links[0]!))).toBe('ERR_VERIFY_POLICY_CHAIN')
    // The first link left out: the second note lacks the quorum of the set that would then be the old one.
    expect(chainRefusal(chainOf(links[1]!))).toBe('ERR_VERIFY_POLICY_CHAIN')
  })
})

describe('PolicyView.verifyCheckpoint()', () => {
  test('returns size, root and the q-th newest cosignature time', () => {
    const times: Record<string, number> = { r1: 1000, r2: 3000, r3: 2000 }
    const lines = Object.entries(times).map(([replica, timeSeconds]) =>
      example
        .note(sizeBefore, { replicas: [replica], logs: ['r1'], timeSeconds })
        .trimEnd()
        .split('\n'),
    )
    const note = [...lines[0]!, lines[1]!.at(-1)!, lines[2]!.at(-1)!, ''].join('\n')
    expect(view.verifyCheckpoint(note)).toMatchObject({
      origin,
      size: sizeBefore,
      rootHash: rootOf(example.leaves.slice(0, sizeBefore)),
      cosignedAtSeconds: 2000,
      cosignatures: [{ quorum: 2, timesSeconds: [3000, 2000, 1000] }],
      witnesses: 0,
      unknownLines: [],
    })
  })

  test('at a transition size both sets must hold, and the older time counts', () => {
    expect(view.verifyCheckpoint(example.notes.get(transition)!).cosignatures).toHaveLength(2)
    expect(noteRefusal(example.note(transition, { replicas: old }))).toBe('ERR_POLICY_LOG_KEY')
    expect(noteRefusal(example.note(transition, { replicas: young, logs: ['r4'] }))).toBe('ERR_POLICY_LOG_KEY')
    // r3 is in both: its log key counts for both, and its cosignature too.
    expect(noteRefusal(example.note(transition, { replicas: ['r1', 'r3', 'r4'], logs: ['r3'] }))).toBeUndefined()
    expect(noteRefusal(example.note(transition, { replicas: ['r1', 'r2', 'r3'], logs: ['r3'] }))).toBe(
      'ERR_POLICY_QUORUM',
    )
  })

  test('no size between event and transition passes under one set', () => {
    const between = example.note(transition - 1, { replicas: old })
    expect(noteRefusal(between)).toBe('ERR_POLICY_LOG_KEY')
  })

  test.each([
    ['old set after the transition', example.note(sizeAfter, { replicas: old, logs: ['r3'] }), 'ERR_POLICY_QUORUM'],
    ['new set before the transition', example.note(sizeBefore, { replicas: young, logs: ['r3'] }), 'ERR_POLICY_QUORUM'],
    ['nobody of the set', example.note(sizeAfter, { replicas: ['r1', 'r2'] }), 'ERR_VERIFY_NOTE_UNSIGNED'],
    ['one cosigner of two', example.note(sizeBefore, { replicas: ['r1'] }), 'ERR_POLICY_QUORUM'],
    ['no log signature', example.note(sizeBefore, { replicas: ['r1', 'r2'], logs: [] }), 'ERR_POLICY_ORIGIN'],
    [
      'a log signature by a stranger',
      example.note(sizeBefore, { replicas: ['r1', 'r2'], logs: ['r9'] }),
      'ERR_POLICY_ORIGIN',
    ],
    ['a stranger as second cosigner', example.note(sizeBefore, { replicas: ['r1', 'r9'] }), 'ERR_POLICY_QUORUM'],
    ['garbage', 'note', 'ERR_DECODE_NOTE'],
  ])('refuses a checkpoint signed by %s', (_, note, code) => {
    expect(noteRefusal(note)).toBe(code)
  })

  test('one cosigner whose line stands twice counts once', () => {
    const lines = example
      .note(sizeBefore, { replicas: ['r1'] })
      .trimEnd()
      .split('\n')
    expect(noteRefusal([...lines, lines.at(-1)!, ''].join('\n'))).toBe('ERR_POLICY_QUORUM')
  })

  test('a bad line of a known key rejects the note', () => {
    const note = example.note(sizeBefore, { replicas: ['r1', 'r2', 'r3'] })
    const other = example.note(sizeBefore, { replicas: ['r3'], rootHash: new Uint8Array(32) })
    const forged = note.trimEnd().split('\n').with(-1, other.trimEnd().split('\n').at(-1)!)
    expect(noteRefusal([...forged, ''].join('\n'))).toBe('ERR_VERIFY_NOTE_SIGNATURE')
  })

  test('lines of unknown keys are set aside and shown', () => {
    const note = example.note(sizeBefore, { replicas: ['r1', 'r2', 'r9'], witnesses: ['wendy'] })
    expect(
      open()
        .verifyCheckpoint(note)
        .unknownLines.map((line) => line.name),
    ).toHaveLength(2)
  })

  const originWith = (changes: Partial<Parameters<typeof originOf>[0]>) =>
    originOf({ name, cluster, group: new Uint8Array(16), generation: 0, ...changes })
  test.each([
    ['another cluster', originWith({ cluster: new Uint8Array(32) }), 'ERR_POLICY_ORIGIN'],
    ['another name', originWith({ name: 'example.com' }), 'ERR_POLICY_ORIGIN'],
    ['another group', originWith({ group: new Uint8Array(16).fill(1) }), 'ERR_POLICY_ORIGIN'],
    ['a further path', `${origin}/0`, 'ERR_POLICY_ORIGIN'],
    ['a generation with a leading zero', `${origin}0`, 'ERR_POLICY_ORIGIN'],
    ['a generation without groupStart', originWith({ generation: 1 }), 'ERR_POLICY_GENERATION'],
  ])('refuses a checkpoint of %s', (_, noteOrigin, code) => {
    expect(noteRefusal(example.note(sizeBefore, { replicas: old, origin: noteOrigin }))).toBe(code)
  })

  test('as many outside witnesses as the policy asks for', () => {
    const policy = { witnesses: [witnessVkey('wendy'), witnessVkey('will')], witnessesRequired: 1 }
    const by = (...witnesses: string[]) => example.note(sizeBefore, { replicas: old, witnesses })
    const [one, two] = [open(chain, policy), open(chain, { ...policy, witnessesRequired: 2 })]
    expect(noteRefusal(by(), one)).toBe('ERR_POLICY_WITNESSES')
    expect(noteRefusal(by('wilma'), one)).toBe('ERR_POLICY_WITNESSES')
    expect(one.verifyCheckpoint(by('will')).witnesses).toBe(1)
    expect(noteRefusal(by('will'), two)).toBe('ERR_POLICY_WITNESSES')
    expect(noteRefusal(by('will', 'wendy'), two)).toBeUndefined()
    // A witness is no replica: the quorum still counts replicas only.
    expect(noteRefusal(example.note(sizeBefore, { replicas: ['r1'], witnesses: ['wendy', 'will'] }), one)).toBe(
      'ERR_POLICY_QUORUM',
    )
  })

  test('another root than that of the start or of a transition note is a split view', () => {
    const rootHash = new Uint8Array(32).fill(1)
    const forked = example.note(sizeBefore, { replicas: old, rootHash })
    expect(noteRefusal(forked)).toBeUndefined()
    const start = { treeSize: sizeBefore, rootHash: rootOf(example.leaves.slice(0, sizeBefore)) }
    expect(noteRefusal(forked, open(chain, { start }))).toBe('ERR_VERIFY_SPLIT_VIEW')
    const both = { replicas: ['r1', 'r2', 'r4', 'r5'], logs: ['r1', 'r4'], rootHash }
    expect(noteRefusal(example.note(transition, both))).toBe('ERR_VERIFY_SPLIT_VIEW')
  })
})

describe('attack: the cosigner event left out of the chain', () => {
  const shortened = chainOf()

  test('checkpoints of the new set fail under the old one', () => {
    const note = example.note(sizeAfter, { replicas: young, logs: ['r3'] })
    expect(noteRefusal(note)).toBeUndefined()
    expect(noteRefusal(note, open(shortened))).toBe('ERR_POLICY_QUORUM')
  })

  test('a fork by a corrupted old set passes the shortened chain alone: a chain cannot show that nothing follows', () => {
    const fork = example.note(sizeAfter, { replicas: old, logs: ['r3'], rootHash: new Uint8Array(32) })
    expect(noteRefusal(fork, open(shortened))).toBeUndefined()
    // With the event it fails; an audit, or the registry a client has stored, shows the event.
    expect(noteRefusal(fork)).toBe('ERR_POLICY_QUORUM')
  })
})

test('tlogPolicies() writes a C2SP policy for each set', () => {
  const witnessed = open(chain, { witnesses: [witnessVkey('wendy')], witnessesRequired: 1 })
  expect(witnessed.tlogPolicies(transition)).toHaveLength(2)
  const [policy] = witnessed.tlogPolicies(sizeAfter)
  const lines = policy!.trimEnd().split('\n')
  expect(lines.filter((line) => line.startsWith(`log ${origin}+`))).toHaveLength(3)
  expect(lines.filter((line) => line.startsWith('witness '))).toHaveLength(4)
  expect(lines.slice(-4)).toEqual([
    'group replicas 2 replica-0 replica-1 replica-2',
    'group outside 1 outside-0',
    'group both all replicas outside',
    'quorum both',
  ])
  expect(view.tlogPolicies(sizeAfter)[0]!.trimEnd().split('\n').at(-1)).toBe('quorum replicas')
})

/** The chain's end after event `number`. */
function after(number: number) {
  return { cluster, operatorSetVersion: 0, head: { number, digest: example.registry.eventDigest(number)! } }
}
