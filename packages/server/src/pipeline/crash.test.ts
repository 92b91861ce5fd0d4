/** A replica loses power at random points of its disk's work, again and again, while a client goes on retrying. */
import { type Proposal } from '@cipherlog/machine'
import { Prng } from '@cipherlog/testkit'
import { beforeAll, describe, expect, it } from 'vitest'
import { TestCluster, Writer } from './cluster.fixture.ts'
import { Comparison, CrashingReplica, Machine, published, Witnessed } from './power-loss.fixture.ts'
import { until } from './replica.fixture.ts'

describe('a replica that loses power at random', () => {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await TestCluster.build(['r1'])
  })

  it.each([1, 2, 3])(
    'ends like one that never did (seed %i)',
    async (seed) => {
      const random = new Prng(seed)
      const witnessed = new Witnessed()
      const machine = new Machine('torn', random)
      const crashing = new CrashingReplica({ cluster, machine, witnessed, seed })

      const writer = new Writer(cluster)
      const proposals: Proposal[] = [...cluster.setup, writer.open(), writer.bundle(writer.envelope())]
      while (proposals.length < 60) {
        const puts = Array.from({ length: random.between(1, 3) }, () => writer.put(String(random.between(0, 9))))
        proposals.push(random.chance(0.1) ? writer.open() : writer.bundle(...puts))
      }
      let next = 0
      let leaf = 0
      let crashes = 0
      while (next < proposals.length) {
        // Power for so many operations; starting may need more than that.
        if (next < proposals.length - 5) machine.cutAt(machine.operations.length + random.between(15, 120))
        try {
          await crashing.start()
          while (next < proposals.length && !crashing.dark) {
            crashing.look()
            ;({ leaf } = await witnessed.propose(crashing.bench.replica, proposals[next]!, random.chance(0.5)))
            next++
            // Without power nothing is published.
            if (random.chance(0.2)) await published(crashing.bench, leaf, 200)
          }
        } catch (error) {
          // Nothing but the lack of power stops it.
          if (!crashing.dark) throw error
        }
        if (!crashing.dark) continue
        await crashing.restore()
        crashes++
      }
      if (crashing.dark) throw new Error('the last proposals have power')
      const { bench } = crashing
      expect(await published(bench, leaf, 10_000)).toBe(true)
      await until(() => bench.ledger.appliedIndex >= bench.replicator.status().commitIndex, 'everything is applied')
      crashing.look()
      expect(bench.faults).toEqual([])
      expect(crashes).toBeGreaterThan(2)
      expect(witnessed.roots.size).toBeGreaterThan(2)
      const entries = await crashing.stop()
      await new Comparison(cluster).expectUninterrupted({ entries, machine, witnessed, proposals })
    },
    30_000,
  )
})
