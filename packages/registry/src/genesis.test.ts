import { decode, encode } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { genesis as genesisCodec, modes, roles, signedGenesis as signedGenesisCodec } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import { possessionOf } from './claims.ts'
import {
  circuitOf,
  cluster,
  codeOf,
  cosignerSetOf,
  genesis,
  genesisOf,
  genesisSecrets,
  keyOf,
  seedOf,
  signedGenesis,
} from './example-cluster.fixture.ts'
import { assembleGenesis, openGenesis, signGenesis } from './genesis.ts'

describe('openGenesis()', () => {
  test('opens what signGenesis() made, and the cluster is the hash of the genesis bytes', () => {
    const opened = openGenesis(signedGenesis)
    expect(opened.genesis).toEqual(genesis)
    expect(opened.cluster).toEqual(sha256(encode(genesisCodec, genesis)))
    expect(opened.cluster).toEqual(cluster)
  })

  test('keeps a copy: the caller may overwrite what it handed in', () => {
    const bytes = signedGenesis.slice()
    const opened = openGenesis(bytes)
    bytes.fill(0)
    expect(opened.signed).toEqual(signedGenesis)
    expect(opened.genesis.name).toBe(genesis.name)
  })

  test.each([
    [
      'threshold-above-operators',
      { operators: { threshold: 4, keys: genesis.operators.keys } },
      'ERR_VERIFY_GENESIS_QUORUM',
    ],
    [
      'recovery-threshold',
      { recovery: { keys: { threshold: 3, keys: genesis.recovery!.keys.keys }, delayMs: 1 } },
      'ERR_VERIFY_GENESIS_QUORUM',
    ],
    ['quorum-of-a-minority', { cosigners: cosignerSetOf(['r1', 'r2', 'r3'], 1) }, 'ERR_VERIFY_GENESIS_QUORUM'],
    ['quorum-above-members', { cosigners: cosignerSetOf(['r1', 'r2', 'r3'], 4) }, 'ERR_VERIFY_GENESIS_QUORUM'],
    ['repeated-peer-id', { cosigners: repeatedPeerId() }, 'ERR_VERIFY_GENESIS_QUORUM'],
    [
      'repeated-operator',
      { operators: { threshold: 2, keys: ['olga', 'otto', 'olga'].map(keyOf) } },
      'ERR_VERIFY_GENESIS_KEYS',
    ],
    ['log-key-is-cosigner-key', { cosigners: oneKeyForTwoUses() }, 'ERR_VERIFY_GENESIS_KEYS'],
    ['operator-key-identity', { operators: { threshold: 1, keys: [identityKey()] } }, 'ERR_VERIFY_GENESIS_KEYS'],
    ['unknown-rules', { rulesVersion: 3 }, 'ERR_RULES_UNKNOWN'],
    [
      'development-circuit-in-production',
      { circuits: [circuitOf('sealed-amount-32', false)] },
      'ERR_VERIFY_GENESIS_CEREMONY',
    ],
    ['repeated-circuit', { circuits: [circuitOf('a'), circuitOf('a')] }, 'ERR_VERIFY_GENESIS_CIRCUITS'],
    [
      'one-key-under-two-circuits',
      { circuits: [circuitOf('a'), { ...circuitOf('a'), id: 'b' }] },
      'ERR_VERIFY_GENESIS_CIRCUITS',
    ],
  ])('refuses %s', (_, changes, code) => {
    expect(codeOf(() => openGenesis(assembleGenesis(genesisOf(changes), possessions())))).toBe(code)
  })

  test('takes development circuits in development mode', () => {
    const development = genesisOf({ mode: modes.development, circuits: [circuitOf('sealed-amount-32', false)] })
    expect(openGenesis(signGenesis(development, genesisSecrets())).genesis.mode).toBe(modes.development)
  })

  test('refuses a genesis in which a key has not proven possession', () => {
    const all = possessions()
    expect(all).toHaveLength(8)
    const missing = all.slice(1)
    const repeated = [...missing, all[1]!]
    const ofOtherKey = all.map((proof, i) => (i === 0 ? ([proof[0], proof[1], all[1]![2]] as typeof proof) : proof))
    const ofOtherRole = all.map((proof, i) =>
      i === 0 ? ([1, 0, possessionOf(seedOf('olga'), roles.recovery, cluster)] as typeof proof) : proof,
    )
    for (const list of [[...all, all[0]!], missing, repeated, ofOtherKey, ofOtherRole, []]) {
      expect(codeOf(() => openGenesis(assembleGenesis(genesis, list)))).toBe('ERR_VERIFY_GENESIS_POSSESSION')
    }
    expect(codeOf(() => openGenesis(assembleGenesis(genesis, all.toReversed())))).toBeUndefined()
  })

  test('refuses possessions made for another genesis', () => {
    const other = genesisOf({ createdAt: genesis.createdAt + 1 })
    expect(codeOf(() => openGenesis(assembleGenesis(other, possessions())))).toBe('ERR_VERIFY_GENESIS_POSSESSION')
  })

  test.each([
    ['empty', new Uint8Array(0)],
    ['truncated', signedGenesis.slice(0, -1)],
    ['trailing-byte', Uint8Array.of(...signedGenesis, 0)],
  ])('refuses %s bytes as a DecodeError', (_, bytes) => {
    expect(codeOf(() => openGenesis(bytes))).toMatch(/^ERR_DECODE_/)
  })
})

test('signGenesis() names the key whose secret is missing', () => {
  expect(() => signGenesis(genesis, genesisSecrets().slice(1))).toThrow(RangeError)
})

function possessions() {
  return decode(signedGenesisCodec, signedGenesis)[1]
}

function repeatedPeerId() {
  const set = cosignerSetOf(['r1', 'r2'])
  return { ...set, members: set.members.map((member) => ({ ...member, peerId: set.members[0]!.peerId })) }
}

function oneKeyForTwoUses() {
  const set = cosignerSetOf(['r1'])
  return { ...set, members: set.members.map((member) => ({ ...member, logKey: member.cosignerKey })) }
}

/** y = 1: the canonical encoding of the identity. */
function identityKey() {
  return Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0))
}
