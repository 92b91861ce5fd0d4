/**
 * A replica that lies to its clients: old answers, shortened registries, swapped values. It sits behind the SDK's
 * own connection to a real node and alters what comes back, as a host could.
 */
import { CipherlogError } from '@cipherlog/core'
import { inMemory, type Cipherlog, type Connection, type Dial } from '@cipherlog/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})
afterAll(async () => world.close())

/** Answers by `lies` where they have one, else by a real node. */
async function behind(lies: (honest: Connection) => Partial<Connection>): Promise<Dial> {
  const honest = await world.connect({ memory: inMemory() })
  return (endpoint) => {
    const connection = honest.replicas.connection(endpoint)
    const altered = lies(connection)
    return new Proxy(connection, {
      get: (target, name) => {
        // The connection behind is shared; the world closes it.
        if (name === 'close') return () => {}
        const lie = altered[name as keyof Connection]
        if (lie !== undefined) return lie
        const value: unknown = target[name as keyof Connection]
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

async function errorOf(run: () => Promise<unknown>): Promise<CipherlogError> {
  try {
    await run()
  } catch (error) {
    if (error instanceof CipherlogError) return error
    throw error
  }
  throw new Error('nobody noticed')
}

const brief = { readMsMax: 1_500, proposeMsMax: 3_000 }

test('a registry without its newest key event is not believed', async () => {
  const dial = await behind((honest) => ({
    keyEvents: async (from, max) => {
      const events = await honest.keyEvents(from, max)
      return events.slice(0, -1)
    },
  }))
  const error = await errorOf(() => world.connect({ ...brief, dial, memory: inMemory() }))
  expect(error.code).toBe('ERR_KEY_UNPROVEN')
})

test('a checkpoint older than the client has seen is not believed', async () => {
  const memory = inMemory()
  const before = await world.connect({ memory })
  const old = await before.replicas.connection(before.replicas.addresses[0]!).checkpoint()
  await (await before.kv('orders').put('newer', 1)).receipt()
  await before.view.refresh()
  await before.close()
  const dial = await behind(() => ({ checkpoint: () => Promise.resolve(old) }))
  const error = await errorOf(() => world.connect({ ...brief, dial, memory }))
  expect(error.code).toMatch(/^ERR_(POLICY_ROLLED_BACK|KEY_UNPROVEN|REPLICA_BEHIND|UNAVAILABLE)$/)
  // A client that remembers nothing cannot know; that is why clients keep a memory.
  await (await world.connect({ ...brief, dial, memory: inMemory() })).close()
})

test('cosignatures older than a client accepts prove nothing', async () => {
  const error = await errorOf(async () => {
    const log = await world.connect({ ...brief, memory: inMemory(), clock: late })
    await log.close()
  })
  expect(error).toMatchObject({ code: 'ERR_KEY_UNPROVEN' })
})

/** A clock two hours ahead of the replicas'. */
const late = { now: () => Date.now() + 7_200_000, monotonic: () => performance.now() }

test('a value older than this client wrote is not returned', async () => {
  let replayed: Awaited<ReturnType<Connection['value']>> | undefined
  let lying = false
  const dial = await behind((honest) => ({
    value: async (...query: Parameters<Connection['value']>) => {
      const answer = await honest.value(...query)
      if (!lying) {
        replayed = answer
        return answer
      }
      return replayed!
    },
  }))
  const log = await world.connect({ ...brief, dial, memory: inMemory(), identity: world.identity })
  await log.kv('orders').put('price', 'old')
  expect((await log.kv('orders').get('price'))?.value).toBe('old')
  await log.kv('orders').put('price', 'new')
  lying = true
  const error = await errorOf(() => log.kv('orders').get('price'))
  expect(error.code).toBe('ERR_REPLICA_BEHIND')
})

test("another name's value is not returned for the one asked for", async () => {
  const swap = async (log: Cipherlog): Promise<unknown> => {
    await log.kv('orders').put('mine', 'a')
    await log.kv('orders').put('theirs', 'b')
    return log.kv('orders').get('theirs')
  }
  let first: Awaited<ReturnType<Connection['value']>> | undefined
  const dial = await behind((honest) => ({
    value: async (...query: Parameters<Connection['value']>) => {
      first ??= await honest.value(...query)
      return first
    },
  }))
  const log = await world.connect({ ...brief, dial, memory: inMemory(), identity: world.identity })
  await log.kv('orders').put('mine', 'a')
  await log.kv('orders').get('mine')
  const error = await errorOf(() => swap(log))
  expect(error.code).toMatch(/^ERR_/)
  expect(error.code).not.toBe('ERR_INTERNAL')
})
