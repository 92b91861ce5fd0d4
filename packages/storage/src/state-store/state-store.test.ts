import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex, utf8, utf8ToString } from '@cipherlog/core'
import { seededRandom } from '../random.fixture.ts'
import { codeOf } from '../wal/compliance.fixture.ts'
import { createLevelStateStore } from './level-state-store.ts'
import { createMemoryStateStore } from './memory-state-store.ts'
import { OverlayStateStore } from './overlay-state-store.ts'
import { type StateStore } from './state-store.ts'

const key = (text: string) => utf8(text)
const none = new Uint8Array(0)

async function dump(store: StateStore, prefix = ''): Promise<string[]> {
  const out: string[] = []
  for await (const [k, v] of store.iterate(utf8(prefix))) out.push(`${utf8ToString(k)}=${utf8ToString(v)}`)
  return out
}

function put(store: StateStore, text: string, value: string): void {
  store.put(key(text), utf8(value))
}

interface Place {
  open(): Promise<StateStore>
  clear(): Promise<void>
}

function compliance(name: string, makePlace: () => Promise<Place>): void {
  describe(`${name}: compliance`, () => {
    let place: Place
    let store: StateStore
    beforeEach(async () => {
      place = await makePlace()
      store = await place.open()
    })
    afterEach(async () => {
      await store.close()
      await place.clear()
    })
    async function reopen(): Promise<void> {
      await store.close()
      store = await place.open()
    }

    it('reads the newest value through every layer', async () => {
      put(store, 'a', 'persisted')
      await store.persist(store.checkpoint())
      put(store, 'a', 'frozen')
      const frozen = store.checkpoint()
      expect(utf8ToString(store.get(key('a'))!)).toBe('frozen')
      put(store, 'a', 'newest')
      expect(utf8ToString(store.get(key('a'))!)).toBe('newest')
      store.delete(key('a'))
      expect(store.get(key('a'))).toBeUndefined()
      await store.persist(frozen)
      expect(store.get(key('a'))).toBeUndefined()
      expect(store.get(key('b'))).toBeUndefined()
    })

    it('holds after a restart exactly what was persisted', async () => {
      put(store, 'a', '1')
      put(store, 'b', '1')
      await store.persist(store.checkpoint())
      put(store, 'a', '2')
      store.delete(key('b'))
      put(store, 'c', '2')
      const second = store.checkpoint()
      put(store, 'd', '3')
      await store.persist(second)
      store.checkpoint()
      await reopen()
      expect(await dump(store)).toEqual(['a=2', 'c=2'])
    })

    it('returns plain Uint8Arrays', async () => {
      put(store, 'a', '1')
      await store.persist(store.checkpoint())
      await reopen()
      expect(store.get(key('a'))!.constructor).toBe(Uint8Array)
      for await (const pair of store.iterate(none)) for (const bytes of pair) expect(bytes.constructor).toBe(Uint8Array)
    })

    it('iterates by prefix in order of bytes, layers merged', async () => {
      for (const text of ['b/2', 'a', 'b/1', 'c', 'b/4']) put(store, text, 'old')
      await store.persist(store.checkpoint())
      put(store, 'b/3', 'frozen')
      put(store, 'b/2', 'frozen')
      store.checkpoint()
      store.delete(key('b/4'))
      put(store, 'b/0', 'new')
      put(store, 'b/5', 'new')
      expect(await dump(store, 'b/')).toEqual(['b/0=new', 'b/1=old', 'b/2=frozen', 'b/3=frozen', 'b/5=new'])
      expect((await dump(store)).length).toBe(7)
      expect(await dump(store, 'x')).toEqual([])
    })

    it('iterates over the state as it was at the call', async () => {
      put(store, 'a', '1')
      put(store, 'b', '1')
      await store.persist(store.checkpoint())
      const pairs = store.iterate(none)
      put(store, 'a', '2')
      put(store, 'c', '2')
      store.delete(key('b'))
      await store.persist(store.checkpoint())
      const seen: string[] = []
      for await (const [k, v] of pairs) seen.push(utf8ToString(k) + utf8ToString(v))
      expect(seen).toEqual(['a1', 'b1'])
    })

    it('iterates prefixes that end in ff, and sorts bytes as unsigned', async () => {
      const keys = ['ff', 'ffff', 'fffe', 'fe', '7f', '80', 'ff00'].map((hex) =>
        Uint8Array.from(Buffer.from(hex, 'hex')),
      )
      for (const one of keys) store.put(one, none)
      await store.persist(store.checkpoint())
      const list = async (prefix: number[]) => {
        const out: string[] = []
        for await (const [k] of store.iterate(Uint8Array.from(prefix))) out.push(toHex(k))
        return out
      }
      expect(await list([])).toEqual(['7f', '80', 'fe', 'ff', 'ff00', 'fffe', 'ffff'])
      expect(await list([0xff])).toEqual(['ff', 'ff00', 'fffe', 'ffff'])
      expect(await list([0xff, 0xff])).toEqual(['ffff'])
    })

    it('persists checkpoints in order only', async () => {
      put(store, 'a', '1')
      const first = store.checkpoint()
      put(store, 'a', '2')
      const second = store.checkpoint()
      expect([first.changes, first.bytes]).toEqual([1, 2])
      expect(await codeOf(store.persist(second))).toBe('ERR_INVARIANT')
      await store.persist(first)
      expect(await codeOf(store.persist(first))).toBe('ERR_INVARIANT')
      await store.persist(second)
      await store.persist(store.checkpoint())
    })

    it('bounds keys: 1 and 4,096 bytes are taken, 0 and 4,097 are not', () => {
      for (const length of [1, 4096]) store.put(new Uint8Array(length), none)
      for (const length of [0, 4097]) expect(() => store.put(new Uint8Array(length), none)).toThrow(RangeError)
      expect(store.get(new Uint8Array(4096))).toEqual(none)
    })

    it('rejects after close()', async () => {
      const batch = store.checkpoint()
      await store.close()
      expect(await codeOf(store.persist(batch))).toBe('ERR_STORAGE_CLOSED')
      expect(() => store.get(key('a'))).toThrow(/closed/)
      expect(() => store.iterate(none)).toThrow(/closed/)
    })

    it('agrees with a Map through random changes, checkpoints and restarts', async () => {
      const random = seededRandom(1)
      let live = new Map<string, string>()
      let persisted = new Map<string, string>()
      for (let step = 0; step < 400; step++) {
        const text = `k${Math.floor(random() * 40)}`
        const dice = random()
        if (dice < 0.6) {
          put(store, text, String(step))
          live.set(text, String(step))
        } else if (dice < 0.8) {
          store.delete(key(text))
          live.delete(text)
        } else if (dice < 0.97) {
          const batch = store.checkpoint()
          persisted = new Map(live)
          await store.persist(batch)
        } else {
          await reopen()
          live = new Map(persisted)
        }
        const value = store.get(key(text))
        expect(value === undefined ? undefined : utf8ToString(value)).toBe(live.get(text))
      }
      const sorted = [...live].sort(([a], [b]) => (a < b ? -1 : 1))
      expect(await dump(store)).toEqual(sorted.map(([k, v]) => `${k}=${v}`))
    })
  })
}

let directory = ''
async function makeDirectory(): Promise<string> {
  directory = await mkdtemp(path.join(tmpdir(), 'cipherlog-state-'))
  return directory
}

compliance('createLevelStateStore()', async () => {
  const at = path.join(await makeDirectory(), 'state')
  return { open: () => createLevelStateStore(at), clear: () => rm(directory, { recursive: true }) }
})

compliance('createMemoryStateStore()', async () => {
  const memory = new Map<string, Uint8Array>()
  return { open: async () => createMemoryStateStore(memory), clear: async () => {} }
})

describe('createLevelStateStore()', () => {
  it('does not compress: what is stored can be searched for in the files', async () => {
    const at = path.join(await makeDirectory(), 'state')
    // Snappy shortens repeats; enough data that LevelDB writes sorted tables.
    for (let round = 0; round < 3; round++) {
      const store = await createLevelStateStore(at)
      for (let n = 0; n < 300; n++) put(store, `key-${round}-${n}`, `canary-${n} `.repeat(20))
      await store.persist(store.checkpoint())
      await store.close()
    }
    const files = await Promise.all(
      (await readdir(at)).filter((name) => /\.(ldb|log)$/.test(name)).map((name) => readFile(path.join(at, name))),
    )
    expect(files.some((bytes) => bytes.includes('canary'))).toBe(true)
    const all = Buffer.concat(files).toString('latin1')
    for (let n = 0; n < 300; n++) expect(all.includes(`canary-${n} `.repeat(20))).toBe(true)
    await rm(directory, { recursive: true })
  })

  it('refuses a directory that is open already', async () => {
    const at = path.join(await makeDirectory(), 'state')
    const store = await createLevelStateStore(at)
    expect(await codeOf(createLevelStateStore(at))).toBe('ERR_STORAGE_FAILED')
    await store.close()
    await rm(directory, { recursive: true })
  })
})

describe('a state store on a failing disk', () => {
  it('keeps what it could not persist readable, and persists nothing ever again', async () => {
    let writes = 0
    const store = new OverlayStateStore({
      get: () => undefined,
      iterate: async function* () {},
      write: () => {
        writes++
        return Promise.reject(new Error('EIO'))
      },
      close: () => Promise.resolve(),
    })
    put(store, 'a', '1')
    const batch = store.checkpoint()
    expect(await codeOf(store.persist(batch))).toBe('ERR_STORAGE_FAILED')
    expect(await codeOf(store.persist(batch))).toBe('ERR_STORAGE_FAILED')
    expect(writes).toBe(1)
    expect(utf8ToString(store.get(key('a'))!)).toBe('1')
    await store.close()
  })
})
