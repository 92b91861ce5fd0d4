import { expect, test } from 'vitest'
import { roles } from '@cipherlog/format'
import { provesPossession } from './claims.ts'
import { cosignerSetEvent, ExampleCluster, keyOf } from './example-cluster.fixture.ts'

test('the proof of an answer key is found in the genesis or in the set that first listed it, and holds in later sets', () => {
  const example = new ExampleCluster()
  const { registry } = example
  const holds = (replica: string): boolean => {
    const answerKey = keyOf(`${replica} answer`)
    const proof = registry.answerPossession(answerKey)
    return proof !== undefined && provesPossession(answerKey, roles.answer, registry.cluster, proof)
  }
  expect(['r1', 'r2', 'r3', 'r4'].map(holds)).toEqual([true, true, true, false])
  example.apply(cosignerSetEvent(['r1', 'r2', 'r4']))
  expect(['r1', 'r2', 'r3', 'r4'].map(holds)).toEqual([true, true, true, true])
})
