import { describe, expect, it } from 'vitest'
import { createMetrics } from './metrics.ts'

describe('createMetrics()', () => {
  it('prints every series with its labels in the Prometheus text format', async () => {
    const metrics = createMetrics({ process: false })
    metrics.hasLeader.set(1)
    metrics.proposalsRejected.inc({ verdict: 'proof' })
    metrics.walAppendDuration.observe(0.0003)
    const text = await metrics.registry.metrics()
    expect(text).toContain('cipherlog_has_leader 1\n')
    expect(text).toContain('cipherlog_proposals_rejected_total{verdict="proof"} 1\n')
    expect(text).toContain('cipherlog_wal_append_duration_seconds_bucket{le="0.0004"} 1\n')
    expect(text).not.toContain('process_cpu')
  })

  it('keeps several nodes of one process apart', async () => {
    const [a, b] = [createMetrics({ process: true }), createMetrics({ process: false })]
    a.treeSize.set(7)
    expect(await b.registry.getSingleMetricAsString('cipherlog_tree_size')).toContain('cipherlog_tree_size 0')
    expect(await a.registry.metrics()).toContain('process_cpu_seconds_total')
  })
})
