/** Seal, propose, check, apply, prove it to an auditor: one replica, real sockets and files. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auditTrail } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})
afterAll(async () => world.close())

test('a value is sealed, applied, read back and proven by a receipt', async () => {
  const done = await world.log.kv('orders').put('order-42', { total: 1999, lines: ['tea', 'milk'] })
  expect(done).toMatchObject({ duplicate: false })
  const read = await world.log.kv('orders').get('order-42')
  expect(read).toMatchObject({ value: { total: 1999, lines: ['tea', 'milk'] }, newest: 'claimed' })
  const receipt = await done.receipt()
  expect(receipt.position).toBe(done.position)
})

test('an audit of a copy confirms everything with no server running', async () => {
  for (let i = 0; i < 20; i++) await world.log.log('audit').append({ i })
  await world.log
    .kv('orders')
    .put('order-43', 'x')
    .then((done) => done.receipt())
  const copy = await mkdtemp(join(tmpdir(), 'cipherlog-audit-'))
  await world.cluster.replicas[0]!.stop()
  await cp(world.cluster.replicas[0]!.trailDirectory, copy, { recursive: true })
  const verifier = await createWorkerVerifier({ threads: 1 })
  try {
    const report = await auditTrail(trailDirectory(copy), { trustPolicy: world.cluster.trustPolicy, verifier })
    expect(report.problems).toEqual([])
    expect(report.findings).toEqual([])
    expect(report).toMatchObject({ valid: true, verdicts: { applied: 23 } })
  } finally {
    await verifier.close()
    await rm(copy, { recursive: true })
  }
})
