import { suites, type KeyOperation } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  activate,
  addKeyVersion,
  createKeyset,
  ExampleCluster,
  idOf,
  memberKeysVersion,
} from './example-cluster.fixture.ts'

const versions = [1, 2, 3].map((epoch) => memberKeysVersion(`orders ${epoch}`, [0, 1]))
const id = idOf('orders')
const compromise = (keyEpoch: number): KeyOperation => ({
  type: 'compromiseKeyVersion',
  keyset: id,
  keyEpoch,
  reason: 'lost laptop',
})

/** A keyset with three versions, none active. */
const withThree = () => {
  const example = new ExampleCluster()
  example.apply(createKeyset('orders', suites.hpkeXwing, versions[0]!))
  example.apply(addKeyVersion('orders', 2, versions[1]!))
  example.apply(addKeyVersion('orders', 3, versions[2]!))
  const { registry } = example
  return {
    example,
    registry,
    states: (later = 0) => [1, 2, 3].map((epoch) => registry.keyState(id, epoch, example.logTime + later)),
    activate: (epoch: number, graceMs: number) =>
      example.apply(activate('orders', epoch, versions[epoch - 1]!, graceMs)),
  }
}

describe('states of key versions', () => {
  test('pending, active, grace until its log time, then decrypt-only', () => {
    const { registry, example, states, ...act } = withThree()
    expect(states()).toEqual(['pending', 'pending', 'pending'])
    expect(registry.activeEpoch(id)).toBeUndefined()
    act.activate(1, 1000)
    expect(states()).toEqual(['active', 'pending', 'pending'])
    act.activate(2, 1000)
    expect(states()).toEqual(['grace', 'active', 'pending'])
    expect(states(999)).toEqual(['grace', 'active', 'pending'])
    expect(states(1000)).toEqual(['decrypt-only', 'active', 'pending'])
    expect(registry.activeEpoch(id)).toBe(2)
    expect(registry.acceptsEpoch(id, 1, example.logTime + 999)).toBe(true)
    expect(registry.acceptsEpoch(id, 1, example.logTime + 1000)).toBe(false)
    expect(registry.acceptsEpoch(id, 2, example.logTime + 1000)).toBe(true)
    expect(registry.acceptsEpoch(id, 3, example.logTime)).toBe(false)
  })

  test('a rotation without grace ends the grace of every older version', () => {
    const { states, ...act } = withThree()
    act.activate(1, 0)
    act.activate(2, 60_000)
    expect(states()).toEqual(['grace', 'active', 'pending'])
    act.activate(3, 0)
    expect(states()).toEqual(['decrypt-only', 'decrypt-only', 'active'])
  })

  test('a later rotation with more grace does not prolong an older grace', () => {
    const { states, ...act } = withThree()
    act.activate(1, 0)
    act.activate(2, 1000)
    act.activate(3, 60_000)
    expect(states(500)).toEqual(['grace', 'grace', 'active'])
    expect(states(1000)).toEqual(['decrypt-only', 'grace', 'active'])
  })

  test('compromised from any live state: no grace, and none active until its successor', () => {
    const { example, registry, states, ...act } = withThree()
    act.activate(1, 0)
    act.activate(2, 60_000)
    example.apply(compromise(1))
    expect(states()).toEqual(['compromised', 'active', 'pending'])
    example.apply(compromise(2))
    expect(states()).toEqual(['compromised', 'compromised', 'pending'])
    expect(registry.activeEpoch(id)).toBeUndefined()
    act.activate(3, 60_000)
    expect(states()).toEqual(['compromised', 'compromised', 'active'])
    expect(registry.acceptsEpoch(id, 2, example.logTime)).toBe(false)
    expect(registry.keyset(id)?.versions.get(2)?.compromised).toMatchObject({ reason: 'lost laptop' })
  })

  test('an unknown keyset or version has no state', () => {
    const { registry } = withThree()
    expect(registry.keyState(id, 4, 0)).toBeUndefined()
    expect(registry.keyState(idOf('other'), 1, 0)).toBeUndefined()
    expect(registry.activeEpoch(idOf('other'))).toBeUndefined()
    expect(registry.acceptsEpoch(idOf('other'), 1, 0)).toBe(false)
  })
})
