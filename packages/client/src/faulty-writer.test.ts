import { beforeAll, describe, expect, test } from 'vitest'
import { encode, systemRandom, utf8 } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import { commitContentKey, readerKeyId, sealToReader } from '@cipherlog/crypto/seal'
import { keyEnvelope, wrapInfo, wraps } from '@cipherlog/format'
import { type Cipherlog } from './cipherlog.ts'
import { encodeContent } from './content.ts'
import { Keyring } from './keyring.ts'
import { envelopeCommand, sealContent, startHead } from './seal-command.ts'
import { type SealedCommand } from './session.ts'
import { testWorld, type TestWorld } from './test-world.fixture.ts'

let world: TestWorld
let writer: Cipherlog
let reader: Cipherlog
beforeAll(async () => {
  world = await testWorld()
  writer = await world.connect()
  const { cluster } = world.testLog.trustPolicy
  reader = await world.connect({
    keyring: new Keyring([...world.keyring.of('nameKey', cluster), ...world.keyring.of('keyVersion', cluster)]),
  })
})

/** Commands of a writer that does not do what the SDK does, correctly signed and taken by the log. */
async function craft(parts: {
  readonly committed: Uint8Array
  readonly wrapped: Uint8Array
  readonly used: Uint8Array
  readonly name: string
  readonly sealedName: string
  readonly content?: Uint8Array
}): Promise<SealedCommand[]> {
  const { keyset, identity } = world
  const { cluster, registry } = { cluster: writer.cluster, registry: writer.view.current.registry }
  const namespace = registry.namespace('orders')!
  const { client } = identity
  const keyEpoch = 1
  const commit = commitContentKey({ contentKey: parts.committed, cluster, client, keyset, keyEpoch })
  const fixed = encode(keyEnvelope, { cluster, client, keyset, keyEpoch, commit })
  const id = labelledHash(labels.envelopeId, fixed)
  const [member] = registry.keyset(keyset)!.versions.get(keyEpoch)!.version.memberKeys!
  const readerKey = readerKeyId(member!.key)
  const info = encode(wrapInfo, [utf8(labels.envelopeInfo), id, keyEpoch, readerKey])
  const sealed = await sealToReader({ publicKey: member!.key, info, plaintext: parts.wrapped })
  const random = systemRandom
  const [put] = await writer.lowLevel.sealPut('orders', parts.name, 0).then((commands) => commands.slice(-1))
  const head = startHead({ namespace, op: 'put', keyEpoch, random, key: put!.head.key, envelope: id })
  const content = parts.content ?? encodeContent(parts.sealedName, 'value')
  return [
    envelopeCommand({
      namespace: 'orders',
      keyset,
      keyEpoch,
      fixed,
      wraps: encode(wraps, [{ wrapEpoch: keyEpoch, readerKeyId: readerKey, ...sealed }]),
      random,
    }),
    sealContent({ cluster, client, head, contentKey: parts.used, content, random }),
  ]
}

async function write(commands: readonly SealedCommand[]): Promise<void> {
  const answer = await writer.lowLevel.proposeBundle(await writer.lowLevel.sealBundle(commands))
  expect(answer.verdictNames).toEqual(['applied', 'applied'])
}

describe('a reader of a faulty writer', () => {
  const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]

  test('opens what is sealed and committed as it should be', async () => {
    await write(await craft({ committed: one, wrapped: one, used: one, name: 'good', sealedName: 'good' }))
    expect(await reader.kv('orders').get('good')).toMatchObject({ value: 'value' })
  })

  test('does not take another content key than the envelope commits to', async () => {
    await write(await craft({ committed: two, wrapped: one, used: one, name: 'split', sealedName: 'split' }))
    await expect(reader.kv('orders').get('split')).rejects.toMatchObject({ code: 'ERR_VERIFY_COMMIT' })
  })

  test('does not take a value under another name than it was sealed with', async () => {
    const three = new Uint8Array(32).fill(3)
    await write(await craft({ committed: three, wrapped: three, used: three, name: 'here', sealedName: 'there' }))
    await expect(reader.kv('orders').get('here')).rejects.toMatchObject({ code: 'ERR_VERIFY_NAME' })
  })

  test('says that a value does not open, or is no value, and a watch goes on', async () => {
    const [four, five] = [new Uint8Array(32).fill(4), new Uint8Array(32).fill(5)]
    await write(await craft({ committed: four, wrapped: four, used: one, name: 'shut', sealedName: 'shut' }))
    await expect(reader.kv('orders').get('shut')).rejects.toMatchObject({ code: 'ERR_OPEN_FAILED' })
    const content = utf8('not CBOR of ours')
    await write(await craft({ committed: five, wrapped: five, used: five, name: 'odd', sealedName: '', content }))
    await expect(reader.kv('orders').get('odd')).rejects.toMatchObject({ code: 'ERR_DECODE_CONTENT' })
    await writer.kv('orders').put('after', 1)
    const problems: unknown[] = []
    for await (const { name, problem } of reader.watch({ namespace: 'orders' })) {
      if (problem !== undefined) problems.push(problem)
      if (name === 'after') break
    }
    expect(problems).toEqual(['ERR_VERIFY_COMMIT', 'ERR_OPEN_FAILED', 'ERR_DECODE_CONTENT'])
  })
})
