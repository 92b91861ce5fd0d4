import { errorCode } from '@cipherlog/core'
import { createMemoryState, Ledger } from '@cipherlog/machine'
import { createInlineVerifier } from '@cipherlog/proof'
import { expect, test } from 'vitest'
import { admit } from './admission.ts'
import { ledgerOptions, TestCluster } from './cluster.fixture.ts'

test('the leader admits new rules only once every voter has said that it knows them', async () => {
  const cluster = await TestCluster.build(['r1'])
  const { ledger } = await Ledger.create(createMemoryState(), cluster.signedGenesis, ledgerOptions)
  const fresh = await TestCluster.build(['r1'])
  // The chain of the second cluster begins with this event: `setup` was signed before it.
  for (const event of fresh.setup) {
    const place = { logIndex: ledger.appliedIndex + 1, logTime: ledger.logTime }
    const plan = ledger.plan(event, place)
    if (plan.outcome !== 'accepted') throw new Error(plan.outcome)
    ledger.apply(event.kind, plan, [], place)
  }
  const event = fresh.event({ type: 'setRules', rulesVersion: 2 })
  const admitted = (votersSupport: number) =>
    admit(ledger, createInlineVerifier(), event, () => {}, {
      votersSupport: () => votersSupport,
      pausedAt: () => undefined,
      digestAt: () => Promise.resolve(undefined),
    })
  expect(await admitted(1).catch(errorCode)).toBe('ERR_RULES_UNSUPPORTED')
  expect(await admitted(2)).toMatchObject({ outcome: 'admitted' })
})
