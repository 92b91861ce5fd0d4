import { verdicts } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  amount,
  createdAt,
  freshElgamalKey,
  hourMs,
  idOf,
  keyEvent,
  minuteMs,
  opaque,
  TestCluster,
  vector,
  Writer,
} from './cluster.fixture.ts'
import { contentsOf, LedgerDriver } from './ledger-driver.fixture.ts'

const shared = await TestCluster.build()
/** For tests that go on with the chain of key events. */
const ownCluster = () => TestCluster.build()

/** A log on which alice and bob have a session and an envelope each. */
async function started(cluster = shared) {
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  const bob = new Writer(cluster, 'bob')
  const envelopes = { alice: alice.envelope(), bob: bob.envelope() }
  await driver.apply(alice.open())
  await driver.apply(bob.open())
  await driver.apply(alice.bundle([envelopes.alice]))
  await driver.apply(bob.bundle([envelopes.bob]))
  return { cluster, driver, alice, bob, envelope: envelopes.alice.id, bobsEnvelope: envelopes.bob.id }
}

const bad = opaque('bad proof', 128).fill(0xff, 0, 1)

describe('a command is applied', () => {
  test('by every machine', async () => {
    const { driver, alice, envelope, cluster } = await started()
    const commands = [
      alice.put('a', envelope),
      alice.put('a', envelope, { op: 'delete' }),
      alice.append(envelope),
      alice.add('total'),
      alice.add('yes', amount(cluster, 2n), undefined, { namespace: 'votes' }),
    ]
    expect(await driver.apply(alice.bundle(commands))).toEqual([0, 0, 0, 0, 0])
  })

  test('and what a kv namespace says of a key is the newest value, until it is deleted', async () => {
    const { driver, alice, envelope } = await started()
    const key = opaque('key a', 33)
    await driver.apply(alice.bundle([alice.put('a', envelope)]))
    const first = driver.ledger.value('orders', key)
    await driver.apply(alice.bundle([alice.put('a', envelope, {}, opaque('newer', 90))]))
    expect(first).toBeDefined()
    expect(driver.ledger.value('orders', key)).not.toEqual(first)
    expect(driver.ledger.value('elsewhere', key)).toBeUndefined()
    await driver.apply(alice.bundle([alice.put('a', envelope, { op: 'delete' })]))
    expect(driver.ledger.value('orders', key)).toBeUndefined()
  })
})

describe('notAfter', () => {
  test('a bundle is in time at its last millisecond and late one after it', async () => {
    const { driver, alice, envelope } = await started()
    const notAfter = createdAt + 1000
    driver.now = notAfter
    expect(await driver.apply(alice.bundle([alice.put('a', envelope)], { notAfter }))).toEqual([verdicts.applied])
    driver.now = notAfter + 1
    const late = alice.bundle([alice.put('b', envelope), alice.put('c', envelope)], { notAfter })
    expect(await driver.apply(late)).toEqual([verdicts.notAfter, verdicts.notAfter])
    expect(driver.ledger.value('orders', opaque('key b', 33))).toBeUndefined()
  })

  test('a late session opening opens nothing and uses up its number; at its last millisecond it is in time', async () => {
    const { driver, alice, bob } = await started()
    driver.now = createdAt + 1000
    expect(await driver.apply(bob.open({ notAfter: createdAt + 1000 }))).toEqual([verdicts.applied])
    expect(await driver.apply(alice.open({ number: 7, notAfter: createdAt + 999 }))).toEqual([verdicts.notAfter])
    expect(driver.ledger.sessions(alice.id)).toEqual({ highWaterMark: 7, open: [{ number: 1, lastSequence: 1 }] })
  })
})

test('revoked: effective at the leaf after the event, for bundles and openings', async () => {
  const { cluster, driver, alice, envelope } = await started(await ownCluster())
  expect(await driver.apply(alice.bundle([alice.put('a', envelope)]))).toEqual([verdicts.applied])
  const event = cluster.event({ type: 'revokeClient', client: alice.id, reason: 'left' })
  await driver.apply(keyEvent(event))
  expect(await driver.apply(alice.bundle([alice.put('a', envelope), alice.add('total')]))).toEqual([
    verdicts.revoked,
    verdicts.revoked,
  ])
  expect(await driver.apply(alice.open())).toEqual([verdicts.revoked])
})

describe('grant', () => {
  test('an unknown namespace is one that nobody may use', async () => {
    const { driver, alice, envelope } = await started()
    expect(await driver.apply(alice.bundle([alice.put('a', envelope, { namespace: 'nowhere' })]))).toEqual([
      verdicts.grant,
    ])
  })

  test('another namespace and another operation than granted are rejected, command by command', async () => {
    const { driver, bob, bobsEnvelope } = await started()
    const commands = [
      bob.put('a', bobsEnvelope),
      bob.put('a', bobsEnvelope, { op: 'delete' }),
      bob.append(bobsEnvelope),
      bob.envelope({ namespace: 'events', subject: 'one' }),
    ]
    expect(await driver.apply(bob.bundle(commands))).toEqual([
      verdicts.applied,
      verdicts.grant,
      verdicts.grant,
      verdicts.grant,
    ])
  })

  test('a grant ends after its last millisecond', async () => {
    const { driver, bob, bobsEnvelope } = await started()
    driver.now = createdAt + hourMs
    expect(await driver.apply(bob.bundle([bob.put('a', bobsEnvelope)]))).toEqual([verdicts.applied])
    driver.now++
    expect(await driver.apply(bob.bundle([bob.put('a', bobsEnvelope)]))).toEqual([verdicts.grant])
  })

  test('new grants take effect at their leaf', async () => {
    const { cluster, driver, bob, bobsEnvelope } = await started(await ownCluster())
    const grants = [{ namespaces: 'events', operations: ['append'] }]
    await driver.apply(keyEvent(cluster.event({ type: 'setGrants', client: bob.id, grants })))
    expect(await driver.apply(bob.bundle([bob.put('a', bobsEnvelope), bob.append(bobsEnvelope)]))).toEqual([
      verdicts.grant,
      verdicts.applied,
    ])
  })
})

describe('epoch', () => {
  test('pending is rejected; active is applied; grace is applied until its end; then it is over', async () => {
    const { cluster, driver, alice, envelope } = await started(await ownCluster())
    const version = cluster.xwingVersion('records', 2)
    await driver.apply(keyEvent(cluster.event(cluster.addKeyVersion('records', 2, version))))
    const next = alice.envelope({ keyEpoch: 2 })
    expect(await driver.apply(alice.bundle([next, alice.put('a', envelope)]))).toEqual([
      verdicts.epoch,
      verdicts.applied,
    ])
    const graceUntil = driver.now + 5000
    await driver.apply(keyEvent(cluster.event(cluster.activate('records', 2, version, 5000))))
    driver.now = graceUntil - 1
    const both = [alice.put('a', envelope), alice.envelope({ keyEpoch: 2 }), alice.put('b', next.id, { keyEpoch: 2 })]
    expect(await driver.apply(alice.bundle(both))).toEqual([0, 0, 0])
    driver.now = graceUntil
    expect(
      await driver.apply(alice.bundle([alice.put('a', envelope), alice.put('b', next.id, { keyEpoch: 2 })])),
    ).toEqual([verdicts.epoch, verdicts.applied])
  })

  test('compromised has no grace, and an epoch that does not exist yet is none', async () => {
    const { cluster, driver, alice, envelope } = await started(await ownCluster())
    const event = cluster.event({
      type: 'compromiseKeyVersion',
      keyset: idOf('records'),
      keyEpoch: 1,
      reason: 'stolen laptop',
    })
    await driver.apply(keyEvent(event))
    const elsewhere = { namespace: 'elsewhere', keyset: 'others' }
    expect(
      await driver.apply(
        alice.bundle([alice.put('a', envelope), alice.envelope(elsewhere), alice.put('a', envelope, { keyEpoch: 2 })]),
      ),
    ).toEqual([verdicts.epoch, verdicts.applied, verdicts.epoch])
  })
})

describe('envelope', () => {
  test('an unknown one, a foreign one, one of another keyset and one of another epoch cannot be named', async () => {
    const { cluster, driver, alice, bobsEnvelope, envelope } = await started(await ownCluster())
    const other = alice.envelope({ namespace: 'elsewhere', keyset: 'others' })
    const version = cluster.xwingVersion('records', 2)
    await driver.apply(keyEvent(cluster.event(cluster.addKeyVersion('records', 2, version))))
    await driver.apply(keyEvent(cluster.event(cluster.activate('records', 2, version, hourMs))))
    const commands = [
      alice.put('a', opaque('no envelope', 32)),
      alice.put('a', bobsEnvelope),
      other,
      alice.put('a', other.id),
      alice.put('a', envelope, { keyEpoch: 2 }),
      alice.put('a', envelope),
    ]
    expect(await driver.apply(alice.bundle(commands))).toEqual([
      verdicts.envelope,
      verdicts.envelope,
      verdicts.applied,
      verdicts.envelope,
      verdicts.envelope,
      verdicts.applied,
    ])
  })

  test('one may be named by later commands of its own bundle, not by earlier ones, in every namespace of its keyset', async () => {
    const { driver, alice } = await started()
    const made = alice.envelope({ subject: 'customer 7' })
    const commands = [alice.put('a', made.id), made, alice.put('b', made.id), alice.append(made.id)]
    expect(await driver.apply(alice.bundle(commands))).toEqual([verdicts.envelope, 0, 0, 0])
    expect(driver.ledger.envelope(made.id)?.wraps).toEqual(made.bodies.wraps)
  })

  test('a second one with the same id is rejected, so wraps cannot be replaced', async () => {
    const { driver, alice, envelope } = await started()
    const before = driver.ledger.envelope(envelope)
    expect(await driver.apply(alice.bundle([alice.envelope({ count: 2 })]))).toEqual([verdicts.envelope])
    expect(driver.ledger.envelope(envelope)).toEqual(before)
  })

  test('one for another client or key epoch than its head says is no command', async () => {
    const { driver, alice } = await started()
    const foreign = alice.envelope({ of: 'bob', subject: 'one' })
    const made = alice.envelope({ subject: 'one' })
    const otherEpoch = { ...alice.envelope({ subject: 'one', keyEpoch: 2 }).head, keyEpoch: 1 }
    const commands = [foreign, alice.command(otherEpoch, made.bodies)]
    expect(await driver.apply(alice.bundle(commands))).toEqual([verdicts.command, verdicts.command])
  })
})

test('seen: an opening that names a checkpoint of another log is rejected and uses up its number', async () => {
  const { driver, alice } = await started()
  const seen = { treeSize: 2, rootHash: opaque('another root', 32) }
  expect(await driver.apply(alice.open({ seen }))).toEqual([verdicts.seen])
  expect(driver.ledger.sessions(alice.id)).toEqual({ highWaterMark: 2, open: [{ number: 1, lastSequence: 1 }] })
  const { size, rootHash } = driver.closed.at(-1)!
  expect(await driver.apply(alice.open({ seen: { treeSize: size + 1, rootHash } }))).toEqual([verdicts.seen])
  expect(await driver.apply(alice.open({ seen: { treeSize: size, rootHash } }))).toEqual([verdicts.applied])
})

describe('proof', () => {
  test('the first bad one rejects its command, and every later proven command of the bundle is not verified', async () => {
    const { driver, alice, envelope } = await started()
    const commands = [
      alice.add('total'),
      alice.put('a', envelope),
      alice.add('total', undefined, bad),
      alice.put('b', envelope),
      alice.add('total'),
      alice.add('total', undefined, bad),
    ]
    expect(await driver.apply(alice.bundle(commands))).toEqual([
      verdicts.applied,
      verdicts.applied,
      verdicts.proof,
      verdicts.applied,
      verdicts.notVerified,
      verdicts.notVerified,
    ])
    await driver.mark()
    expect(driver.ledger.cell('revenue', opaque('key total', 33))!.cell.slices[0]!.count).toBe(1)
  })

  test('what is not asked for is not checked: a command rejected before its proof needs none', async () => {
    const { driver, alice } = await started()
    const proposal = alice.bundle([alice.add('total', undefined, bad, { keyEpoch: 2 }), alice.add('total')])
    expect(driver.ledger.plan(proposal)).toMatchObject({ proofs: [{ command: 1 }] })
    expect(await driver.apply(proposal)).toEqual([verdicts.epoch, verdicts.applied])
  })

  test('answers after the first bad one are not looked at, and none may be missing', async () => {
    const { driver, alice } = await started()
    const three = [1, 2, 3].map(() => alice.add('total'))
    expect(await driver.apply(alice.bundle(three), () => [true, false, true])).toEqual([
      verdicts.applied,
      verdicts.proof,
      verdicts.notVerified,
    ])
    await expect(driver.apply(alice.bundle(three), () => [true, false])).rejects.toThrow(/results of its proofs/)
  })
})

describe('gate', () => {
  test('a ciphertext that is no pair of points, and one whose c1 is the identity, are rejected', async () => {
    const { cluster, driver, alice } = await started()
    const identity = new Uint8Array(64)
    identity[63] = 1
    const inTheClear = amount(cluster, 1n).slice()
    inTheClear.set(identity)
    const c2Identity = amount(cluster, 1n).slice()
    c2Identity.set(identity, 64)
    const commands = [opaque('no point', 128), inTheClear, c2Identity].map((bytes) => alice.add('total', bytes))
    const proposal = alice.bundle(commands)
    expect(driver.ledger.plan(proposal)).toMatchObject({
      admission: { inadmissible: { command: 0, error: { code: 'ERR_ELGAMAL_RANGE' } } },
      proofs: [{ command: 2 }],
    })
    expect(await driver.apply(proposal)).toEqual([verdicts.gate, verdicts.gate, verdicts.applied])
  })
})

describe('limit', () => {
  test('proofs per minute of log time: at the quota, one past it, and afresh in the next minute', async () => {
    const { driver, bob } = await started()
    const three = () => bob.bundle([bob.add('total'), bob.add('total'), bob.add('total')])
    expect(await driver.apply(three())).toEqual([0, 0, verdicts.limit])
    driver.now = createdAt + minuteMs - 1
    expect(await driver.apply(bob.bundle([bob.add('total')]))).toEqual([verdicts.limit])
    driver.now = createdAt + minuteMs
    expect(await driver.apply(three())).toEqual([0, 0, verdicts.limit])
  })

  test('bytes per minute: at the quota and one past it', async () => {
    const { driver, bob, bobsEnvelope } = await started()
    driver.now = createdAt + minuteMs
    const put = (bytes: number) => bob.put('a', bobsEnvelope, {}, new Uint8Array(bytes))
    expect(await driver.apply(bob.bundle([put(3000), put(1001), put(1000), put(53)]))).toEqual([
      0,
      verdicts.limit,
      0,
      verdicts.limit,
    ])
  })

  test('attempts count: bad proofs and atomic bundles that failed have used up the quota', async () => {
    const { driver, bob } = await started()
    expect(await driver.apply(bob.bundle([bob.add('total', undefined, bad)]))).toEqual([verdicts.proof])
    const atomic = bob.bundle([bob.add('total'), bob.append(undefined)], { atomic: true })
    expect(await driver.apply(atomic)).toEqual([verdicts.atomic, verdicts.grant])
    expect(await driver.apply(bob.bundle([bob.add('total')]))).toEqual([verdicts.limit])
  })

  test('a cell takes contributions under slicesPerCellMax key epochs, and is not changed by one more', async () => {
    const { cluster, driver, alice } = await started(await ownCluster())
    for (const keyEpoch of [1, 2, 3]) {
      if (keyEpoch > 1) {
        const version = cluster.elgamalVersion('amounts', keyEpoch, freshElgamalKey())
        await driver.apply(keyEvent(cluster.event(cluster.addKeyVersion('amounts', keyEpoch, version))))
        await driver.apply(keyEvent(cluster.event(cluster.activate('amounts', keyEpoch, version))))
      }
      const verdict = keyEpoch === 3 ? verdicts.limit : verdicts.applied
      const add = () => alice.add('total', undefined, undefined, { keyEpoch })
      expect(await driver.apply(alice.bundle([add(), add()]))).toEqual([verdict, verdict])
    }
    await driver.mark()
    const { cell } = driver.ledger.cell('revenue', opaque('key total', 33))!
    expect(cell.slices.map(({ keyEpoch, count }) => [keyEpoch, count])).toEqual([
      [1, 2],
      [2, 2],
    ])
  })
})

describe('vectors', () => {
  test('pass the gate or are rejected; at maxCount a slice is full and rotation due, in another cell it is not', async () => {
    const { cluster, driver, alice } = await started(await TestCluster.build({ vectors: true }))
    const good = await vector(cluster, [1, 2, 3, -4])
    const unreduced = good.slice().fill(0xff, 113, 121)
    const add = (name: string, bytes = good) => alice.addVector(name, bytes)
    expect(await driver.apply(alice.bundle([add('p99', unreduced), add('p99'), add('p99')]))).toEqual([
      verdicts.gate,
      0,
      0,
    ])
    expect(await driver.apply(alice.bundle([add('p99'), add('p99'), add('p50')]))).toEqual([0, verdicts.rotationDue, 0])
    await driver.mark()
    const { cell } = driver.ledger.cell('latency', opaque('key p99', 33))!
    expect(cell.slices).toMatchObject([{ keyEpoch: 1, count: 3, bound: 3000 }])
  })
})

describe('atomic', () => {
  test('one failed command rejects the others and undoes what they did: values, envelopes and cells', async () => {
    const { driver, alice, envelope } = await started()
    await driver.apply(alice.bundle([alice.put('a', envelope), alice.add('total')]))
    await driver.mark()
    const made = alice.envelope({ subject: 'one' })
    const [before, root] = [await contentsOf(driver.state), driver.batchRecord.stateRoot]
    const commands = [
      alice.put('a', envelope, { op: 'delete' }),
      made,
      alice.put('b', made.id),
      alice.add('total'),
      alice.add('another'),
      alice.add('another'),
      alice.put('c', opaque('no envelope', 32)),
    ]
    const rejected = Array<number>(6).fill(verdicts.atomic)
    expect(await driver.apply(alice.bundle(commands, { atomic: true }))).toEqual([...rejected, verdicts.envelope])
    await driver.mark()
    expect(driver.batchRecord.stateRoot).toEqual(root)
    expect(driver.ledger.cell('revenue', opaque('key another', 33))).toBeUndefined()
    expect(driver.ledger.envelope(made.id)).toBeUndefined()

    // Of the state only sessions ('s'), quotas ('q'), the seen table ('t') and the ledger ('L') have changed.
    const lines = new Set(before.split('\n'))
    const changed = (await contentsOf(driver.state)).split('\n').filter((line) => !lines.has(line))
    const kinds = changed.map((line) => String.fromCharCode(parseInt(line.slice(0, 2), 16)))
    expect(new Set(kinds)).toEqual(new Set(['s', 'q', 't', 'L']))

    // New cells get the numbers that were given back, and the sequences are used up.
    expect(await driver.apply(alice.bundle([alice.add('third'), alice.add('total')]))).toEqual([0, 0])
    await driver.mark()
    expect(driver.ledger.cell('revenue', opaque('key third', 33))!.cell.number).toBe(1)
    expect(driver.ledger.cell('revenue', opaque('key total', 33))!.cell.slices[0]!.count).toBe(2)
  })

  test('a bundle whose commands all pass is applied', async () => {
    const { driver, alice, envelope } = await started()
    const commands = [alice.put('a', envelope), alice.add('total')]
    expect(await driver.apply(alice.bundle(commands, { atomic: true }))).toEqual([0, 0])
  })
})

describe('a command must have exactly the parts that its operation takes:', () => {
  const wrap = (writer: Writer) => writer.envelope({ subject: 'extra' }).bodies.wraps
  const cases: Record<string, (writer: Writer, envelope: Uint8Array) => ReturnType<Writer['command']>> = {
    'no unknown operation': (w, e) => w.put('a', e, { op: 'add' }),
    'no envelope is no put': (w) => w.put('a', undefined),
    'no key on an append': (w, e) => w.append(e, { key: opaque('key', 33) }),
    'a key on a put': (w, e) => w.put('a', e, { key: undefined }),
    'no arguments on a put': (w, e) => w.put('a', e, { args: Uint8Array.of(1) }),
    'no circuit on a put, known': (w, e) => w.put('a', e, { circuit: 'sealed-amount-32' }),
    'no circuit on a put, unknown': (w, e) => w.put('a', e, { circuit: 'no-circuit' }),
    'no circuit on an append': (w, e) => w.append(e, { circuit: 'no-circuit' }),
    'no proof on a put': (w, e) =>
      w.command(w.put('a', e).head, { ciphertext: opaque('c', 80), proof: opaque('p', 128) }),
    'no wraps on a put': (w, e) => w.command(w.put('a', e).head, { ciphertext: opaque('c', 80), wraps: wrap(w)! }),
    'a ciphertext of at least an empty sealed value': (w, e) => w.put('a', e, {}, new Uint8Array(52)),
    'another suite than the namespace': (w, e) => w.put('a', e, { suite: 2 }),
    'another keyset than the namespace': (w, e) => w.put('a', e, { keyset: idOf('others') }),
    'no envelope on a counter': (w, e) => w.add('t', undefined, undefined, { envelope: e }),
    'no arguments on a counter': (w) => w.add('t', undefined, undefined, { args: Uint8Array.of(1) }),
    'a key on a counter': (w) => w.add('t', undefined, undefined, { key: undefined }),
    'a proof on a counter': (w) => w.command(w.add('t').head, { ciphertext: amount(w.cluster, 1n) }),
    'a circuit on a counter': (w) => w.add('t', undefined, undefined, { circuit: undefined }),
    'the circuit of the namespace': (w) => w.add('t', undefined, undefined, { circuit: 'sealed-amount-16' }),
    'a proof of 128 bytes': (w) => w.add('t', undefined, opaque('proof', 127)),
    'a ciphertext of 128 bytes': (w) => w.add('t', opaque('ciphertext', 129)),
    'arguments on an envelope': (w) => w.command({ ...w.envelope().head, args: undefined }, { wraps: wrap(w)! }),
    'arguments that are one': (w) => w.command({ ...w.envelope().head, args: Uint8Array.of(1) }, { wraps: wrap(w)! }),
    'wraps on an envelope': (w) => w.command(w.envelope({ subject: 'x' }).head, {}),
    'no key on an envelope': (w) =>
      w.command({ ...w.envelope({ subject: 'x' }).head, key: opaque('key', 33) }, { wraps: wrap(w)! }),
    'no ciphertext on an envelope': (w) =>
      w.command(w.envelope({ subject: 'x' }).head, { wraps: wrap(w)!, ciphertext: opaque('c', 80) }),
    'no envelope in a namespace of another suite': (w) =>
      w.command({ ...w.envelope({ namespace: 'revenue', keyset: 'amounts' }).head, suite: 2 }, { wraps: wrap(w)! }),
  }

  let log: ReturnType<typeof started> | undefined
  test.each(Object.entries(cases))('%s', async (_name, make) => {
    const { driver, alice, envelope } = await (log ??= started())
    expect(await driver.apply(alice.bundle([make(alice, envelope), alice.put('b', envelope)]))).toEqual([
      verdicts.command,
      verdicts.applied,
    ])
  })
})
