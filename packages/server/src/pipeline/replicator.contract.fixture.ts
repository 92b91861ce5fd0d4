/** What every replicated log must hold to, whatever makes it: run on the memory twin, and on Raft with 1 and 3 nodes. */
import { errorCode, utf8, utf8ToString } from '@cipherlog/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CommittedEntry, type ProposeOutcome, type Replicator } from '../replicator.ts'

export interface ContractCluster {
  readonly leader: Replicator & { stop(): void }
  readonly followers: readonly Replicator[]
  stop(): Promise<void>
}

/** Any kind that the log itself gives no meaning to. */
const kind = 3

const newcomer = 'ab'.repeat(16)
const learner = {
  transition: 'auto',
  changes: [{ type: 'addLearner', peer: newcomer }],
  addresses: [{ peerId: newcomer, peers: '10.0.0.9:7444', api: 'https://10.0.0.9:7443' }],
} as const

/** What a promise fails with; what a call throws at once counts too. */
async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

export function replicatorContract(name: string, start: () => Promise<ContractCluster>): void {
  describe(`Replicator contract: ${name}`, () => {
    let cluster: ContractCluster
    let leader: ContractCluster['leader']
    beforeEach(async () => {
      cluster = await start()
      leader = cluster.leader
    })
    afterEach(() => cluster.stop())

    const propose = (text: string): Promise<ProposeOutcome> => leader.propose(kind, utf8(text))
    async function entriesOf(replicator: Replicator, upTo: number, from = 1): Promise<CommittedEntry[]> {
      const out: CommittedEntry[] = []
      while (from + out.length <= upTo) {
        out.push(...(await replicator.committed(from + out.length, 1024)))
        // Bytes are a bound, not a size: more than asked for may come.
      }
      return out.slice(0, upTo - from + 1)
    }
    const indexOf = (outcome: ProposeOutcome): number => {
      if (outcome.outcome !== 'committed') throw new Error(`not committed but ${outcome.outcome}`)
      return outcome.index
    }

    it('hands out every committed entry once, in order, without gaps, the same on all nodes', async () => {
      const outcomes = await Promise.all(Array.from({ length: 50 }, (_, i) => propose(`entry ${i}`)))
      const last = Math.max(...outcomes.map(indexOf))
      expect(new Set(outcomes.map(indexOf)).size).toBe(50)
      const entries = await entriesOf(leader, last)
      expect(entries.map(({ index }) => index)).toEqual(Array.from({ length: last }, (_, i) => i + 1))
      outcomes.forEach((outcome, i) => expect(utf8ToString(entries[indexOf(outcome) - 1]!.payload)).toBe(`entry ${i}`))
      for (const follower of cluster.followers) expect(await entriesOf(follower, last)).toEqual(entries)
      expect(await entriesOf(leader, last, last - 3)).toEqual(entries.slice(-4))
    })

    it('never lets log time fall', async () => {
      const last = indexOf((await Promise.all([propose('a'), propose('b'), propose('c')]))[2]!)
      const times = (await entriesOf(leader, last)).map(({ time }) => time)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    })

    it('keeps to the bytes that are asked for, and gives one entry however long', async () => {
      const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => propose('x'.repeat(100 + i))))
      const first = indexOf(outcomes[0]!)
      expect(await leader.committed(first, 1)).toHaveLength(1)
      const some = await leader.committed(first, 250)
      expect(some.length).toBeGreaterThanOrEqual(2)
      expect(some.length).toBeLessThanOrEqual(3)
    })

    it('waits for an entry that is not committed yet', async () => {
      const next = leader.status().commitIndex + 1
      const waiting = leader.committed(next, 1024)
      const outcome = await propose('awaited')
      expect(indexOf(outcome)).toBe(next)
      expect(utf8ToString((await waiting)[0]!.payload)).toBe('awaited')
    })

    it('tells where a proposal stands before it hands out the entry', async () => {
      const order: string[] = []
      let next = leader.status().commitIndex + 1
      const reading = (async () => {
        for (let seen = 0; seen < 20;) {
          const entries = await leader.committed(next, 1)
          for (const { payload } of entries) order.push(`entry ${utf8ToString(payload)}`)
          seen += entries.length
          next += entries.length
        }
      })()
      for (let i = 0; i < 20; i++) void propose(String(i)).then(() => order.push(`outcome ${i}`))
      await reading
      for (let i = 0; i < 20; i++) expect(order.indexOf(`outcome ${i}`)).toBeLessThan(order.indexOf(`entry ${i}`))
    })

    it('covers with a read barrier everything acknowledged before', async () => {
      const index = indexOf(await propose('written'))
      expect(await leader.readBarrier()).toBeGreaterThanOrEqual(index)
    })

    it('leads since a position of its own, behind which everything earlier stands', async () => {
      const since = leader.leadingSince()!
      expect(since).toBeGreaterThan(0)
      const first = (await leader.committed(since, 1))[0]!
      expect(first.payload).toHaveLength(0)
      expect(indexOf(await propose('later'))).toBeGreaterThan(since)
      expect(leader.status()).toMatchObject({ role: 'leader' })
      for (const follower of cluster.followers) expect(follower.leadingSince()).toBeUndefined()
    })

    it('drops proposals, changes and transfers where it does not lead', async () => {
      for (const follower of cluster.followers) {
        const dropped = { outcome: 'dropped', reason: 'not-leader', leaderId: leader.status().leaderId }
        expect(await follower.propose(kind, utf8('x'))).toEqual(dropped)
        expect(await follower.proposeChange(learner)).toEqual(dropped)
        expect(await codeOf(follower.transferLeadership(leader.status().leaderId!))).toBe('ERR_NOT_LEADER')
        follower.stepDown()
      }
      expect(leader.status().role).toBe('leader')
    })

    it('gives followers a read barrier that covers everything acknowledged before', async () => {
      const index = indexOf(await propose('written'))
      for (const follower of cluster.followers) {
        expect(await follower.readBarrier()).toBeGreaterThanOrEqual(index)
      }
    })

    it('adds a learner by a change at a position of its own, and tells everybody with its address', async () => {
      const told: unknown[] = []
      for (const each of [leader, ...cluster.followers]) {
        each.onConfigurationChange((configuration, index, addresses) => {
          told.push([configuration.learners, index, addresses])
        })
      }
      const before = leader.status().configuration
      const index = indexOf((await leader.proposeChange(learner)) as ProposeOutcome)
      const entries = await entriesOf(leader, index, index)
      expect(entries[0]).toMatchObject({ index, kind: 34 })
      for (let turn = 0; turn < 500 && told.length <= cluster.followers.length; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
      expect(told).toEqual([leader, ...cluster.followers].map(() => [[newcomer], index, [...learner.addresses]]))
      expect(leader.status().configuration).toEqual({ ...before, learners: [newcomer] })
      leader.appliedUpTo(index)
      expect(leader.standingAt(index - 1).configuration).toEqual(before)
      expect(leader.standingAt(index).configuration.learners).toEqual([newcomer])
      expect(indexOf(await propose('goes on'))).toBeGreaterThan(index)
    })

    it('refuses a change that leads to no configuration, or names a replica twice, and appends nothing', async () => {
      const { lastIndex, configuration } = leader.status()
      const changes = configuration.voters.map((peer) => ({ type: 'remove', peer }) as const)
      const nobody = { transition: 'auto', changes, addresses: [] } as const
      expect(await leader.proposeChange(nobody)).toEqual({ outcome: 'refused', reason: 'invalid' })
      const twice = { ...learner, changes: [...learner.changes, ...learner.changes] }
      expect(await leader.proposeChange(twice)).toEqual({ outcome: 'refused', reason: 'invalid' })
      expect(leader.status().lastIndex).toBe(lastIndex)
    })

    it('hands leadership to nobody who does not vote', async () => {
      expect(await codeOf(leader.transferLeadership(newcomer))).toBe('ERR_TRANSFER_FAILED')
      expect(leader.leadingSince()).toBeDefined()
    })

    it('forgets what is compacted, keeps what follows, and never forgets what is not applied', async () => {
      const last = indexOf((await Promise.all([propose('a'), propose('b'), propose('c')]))[2]!)
      leader.appliedUpTo(last - 1)
      leader.offerSnapshot({ index: last - 1, digest: new Uint8Array(32) })
      expect(leader.status().snapshotIndex).toBe(last - 1)
      await leader.compactTo(last - 2)
      expect(leader.status().compactedIndex).toBe(last - 2)
      expect(await codeOf(leader.committed(last - 2, 1024))).toBe('ERR_LOG_COMPACTED')
      const kept = await leader.committed(last - 1, 1024)
      expect(kept.map(({ payload }) => utf8ToString(payload))).toEqual(['b', 'c'])
      expect(await codeOf(leader.compactTo(last))).toBe('ERR_INVARIANT')
      expect(() => leader.standingAt(last - 3)).toThrow(RangeError)
    })

    it('gives up waiting for entries when its caller does', async () => {
      const abort = new AbortController()
      const waiting = leader.committed(leader.status().commitIndex + 1, 1024, abort.signal)
      abort.abort()
      expect(await waiting).toEqual([])
      expect(indexOf(await propose('goes on'))).toBeGreaterThan(0)
    })

    it('takes what is applied, in any steps', async () => {
      const last = indexOf(await propose('applied'))
      leader.appliedUpTo(1)
      leader.appliedUpTo(last)
      expect(indexOf(await propose('after'))).toBe(last + 1)
    })

    it('settles everything that waits when it stops, and hands out nothing more', async () => {
      const waiting = leader.committed(leader.status().commitIndex + 2, 1024)
      const proposed = propose('undecided')
      leader.stop()
      expect((await proposed).outcome).toBe('unknown')
      expect(await waiting).toEqual([])
      expect(await leader.committed(1, 1024)).toEqual([])
      expect((await propose('too late')).outcome).toBe('dropped')
      expect(errorCode(await leader.readBarrier().catch((error: unknown) => error))).toBe('ERR_NOT_LEADER')
      expect(leader.leadingSince()).toBeUndefined()
    })
  })
}
