import { readFile } from 'node:fs/promises'
import { entryKinds } from '@cipherlog/format'
import { createMemoryState } from '@cipherlog/machine'
import { createInlineVerifier } from '@cipherlog/proof'
import { expect, test } from 'vitest'
import { createdAt, keyEvent, TestCluster, Writer } from './cluster.fixture.ts'
import { ledgerOptions } from './ledger-driver.fixture.ts'
import { applyEntry, openLedger } from './one-entry.fixture.ts'

test('the example of the README takes a log from its genesis to a closed batch, and is the one printed there', async () => {
  const cluster = await TestCluster.build()
  const ledger = await openLedger(createMemoryState(), cluster.signedGenesis, ledgerOptions)
  const verifier = createInlineVerifier()
  const alice = new Writer(cluster)
  const proposals = [...cluster.setup.map(keyEvent), alice.open(), alice.bundle([alice.envelope()])]
  const leaves = []
  for (const [i, proposal] of proposals.entries()) {
    leaves.push(
      ...(await applyEntry(ledger, verifier, { index: i + 1, logTime: createdAt, kind: proposal.kind, proposal })),
    )
  }
  const mark = { index: proposals.length + 1, logTime: createdAt, kind: entryKinds.mark }
  leaves.push(...(await applyEntry(ledger, verifier, mark)))
  expect(leaves.map(({ leafIndex }) => leafIndex)).toEqual(leaves.map((_, i) => i + 2))
  expect(leaves.slice(-3).map(({ kind, verdicts }) => [kind, verdicts])).toEqual([
    [2, [0]],
    [3, [0]],
    [5, []],
  ])
  const source = await readFile(new URL('one-entry.fixture.ts', import.meta.url), 'utf8')
  expect(await readFile(new URL('../README.md', import.meta.url), 'utf8')).toContain(source)
})
