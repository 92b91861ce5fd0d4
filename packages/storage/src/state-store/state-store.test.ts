import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex, utf8, utf8ToString } from '@cipherlog/core'
import { seededRandom } from '../random.fixture.ts'
import { codeOf } from '../wal/compliance.fixture.ts'
import { createLevelStateStore, stateDatabase } from './level-state-store.ts'
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

async function* pairsOf(keys: readonly string[], value: string): AsyncGenerator<[Uint8Array, Uint8Array]> {
  for (const text of keys) yield [key(text), utf8(value)]
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

    it('gives way to a whole new state at once, which goes on from there', async () => {
      for (const text of ['a', 'b', 'c']) put(store, text, 'old')
      await store.persist(store.checkpoint())
      put(store, 'd', 'frozen')
      store.checkpoint()
      put(store, 'e', 'open')
      const next = await store.prepareReplacement(pairsOf(['b', 'x'], 'new'))
      expect([await dump(next.store), store.get(key('e'))]).toEqual([['b=new', 'x=new'], utf8('open')])
      await next.commit()
      expect(() => store.get(key('a'))).toThrow(/closed/)
      store = next.store
      put(store, 'y', 'later')
      await store.persist(store.checkpoint())
      expect(await dump(store)).toEqual(['b=new', 'x=new', 'y=later'])
      await reopen()
      expect(await dump(store)).toEqual(['b=new', 'x=new', 'y=later'])
      const third = await store.prepareReplacement(pairsOf([], ''))
      await third.commit()
      store = third.store
      await reopen()
      expect(await dump(store)).toEqual([])
    })

    it('keeps its state if a new one is discarded, is not committed before a crash, or fails', async () => {
      put(store, 'a', 'old')
      await store.persist(store.checkpoint())
      const first = await store.prepareReplacement(pairsOf(['b'], 'new'))
      await first.discard()
      const failing = (async function* () {
        yield* pairsOf(['c'], 'new')
        throw new RangeError('a damaged snapshot')
      })()
      expect(await codeOf(store.prepareReplacement(failing))).toBe('RangeError')
      const second = await store.prepareReplacement(pairsOf(['d'], 'new'))
      put(store, 'b', 'still')
      await store.persist(store.checkpoint())
      // The process ends here: its files are closed, nothing is committed.
      await second.store.close()
      await reopen()
      expect(await dump(store)).toEqual(['a=old', 'b=still'])
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
    const database = await stateDatabase(at)
    const names = (await readdir(database)).filter((name) => /\.(ldb|log)$/.test(name))
    const files = await Promise.all(names.map((name) => readFile(path.join(database, name))))
    expect(files.some((bytes) => bytes.includes('canary'))).toBe(true)
    const all = Buffer.concat(files).toString('latin1')
    for (let n = 0; n < 300; n++) expect(all.includes(`canary-${n} `.repeat(20))).toBe(true)
    await rm(directory, { recursive: true })
  })

  it('finds the old state or the new one after a crash between any two steps, and removes the other', async () => {
    const at = path.join(await makeDirectory(), 'state')
    const names = async () => (await readdir(at)).sort()
    let store = await createLevelStateStore(at)
    put(store, 'a', 'old')
    await store.persist(store.checkpoint())
    const next = await store.prepareReplacement(pairsOf(['b'], 'new'))
    await next.store.close()
    await store.close()
    // Written, not in force; then with half a generation file beside it.
    await writeFile(path.join(at, 'generation.tmp'), '1')
    expect(await names()).toEqual(['0', '1', 'generation.tmp'])
    store = await createLevelStateStore(at)
    expect([await dump(store), (await names()).includes('1')]).toEqual([['a=old'], false])
    const again = await store.prepareReplacement(pairsOf(['b'], 'new'))
    await again.commit()
    await again.store.close()
    // In force, the old one not removed yet.
    await cp(path.join(at, '1'), path.join(at, '0'), { recursive: true })
    expect([await names(), await stateDatabase(at)]).toEqual([['0', '1', 'generation'], path.join(at, '1')])
    store = await createLevelStateStore(at)
    expect([await dump(store), await names()]).toEqual([['b=new'], ['1', 'generation']])
    await store.close()
    await writeFile(path.join(at, 'generation'), '1')
    expect(await codeOf(createLevelStateStore(at))).toBe('ERR_STORAGE_FAILED')
    await rm(directory, { recursive: true })
  })

  it('replaces a state that is larger than one batch', async () => {
    const at = path.join(await makeDirectory(), 'state')
    const store = await createLevelStateStore(at)
    const keys = Array.from({ length: 40 }, (_, n) => `key ${n + 10}`)
    const next = await store.prepareReplacement(pairsOf(keys, 'x'.repeat(500_000)))
    await next.commit()
    await next.store.close()
    const again = await createLevelStateStore(at)
    expect((await dump(again)).map((line) => line.slice(0, 6))).toEqual(keys)
    await again.close()
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
      prepare: () => Promise.reject(new Error('EIO')),
      close: () => Promise.resolve(),
    })
    put(store, 'a', '1')
    const batch = store.checkpoint()
    expect(await codeOf(store.persist(batch))).toBe('ERR_STORAGE_FAILED')
    expect(await codeOf(store.persist(batch))).toBe('ERR_STORAGE_FAILED')
    expect(writes).toBe(1)
    expect(utf8ToString(store.get(key('a'))!)).toBe('1')
    expect(await codeOf(store.prepareReplacement(pairsOf(['a'], '2')))).toBe('ERR_STORAGE_FAILED')
    await store.close()
  })
})
