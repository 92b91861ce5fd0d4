/** What a long log costs the consensus core: built, compacted, and read again at a start. */
import { confStateOf, type EntryRef, Raft, type RaftConfig } from '@cipherlog/raft'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Bench } from './bench.ts'
import { measured, type Table } from './report.ts'

const entries = 1_000_000
const batch = 1000
const id = '01'.repeat(16)
const digest = new Uint8Array(32).fill(7)
const initialTimeMs = 1_700_000_000_000
const confState = confStateOf([id])

const config: RaftConfig = {
  id,
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: true,
  checkQuorum: true,
  maxInflightMessages: 256,
  maxInflightBytes: 16 << 20,
  maxAppendBytes: 1 << 20,
  maxUncommittedBytes: 64 << 20,
  maxClockErrorMs: 500,
  diskStallTicks: 10,
  initialTimeMs,
  random: () => 0,
}

export const raftLog: Bench = {
  name: 'raft-log',
  about: 'a log of a million refs in the consensus core: built, compacted, started from',
  run: async ({ rounds, quick }) => {
    const count = quick ? entries / 100 : entries
    const figures = Array.from({ length: rounds }, () => measureLog(count))
    return Promise.resolve([tableOf(count, figures)])
  },
}

interface LogFigures {
  readonly appendUs: number
  readonly bytesPerEntry: number
  readonly compactMs: number
  readonly startMs: number
}

/** One voter, so that nothing but the core is measured: proposals in groups, each written and applied at once. */
function measureLog(count: number): LogFigures {
  const before = usedBytes()
  const raft = new Raft(config, { hardState: { term: 0, votedFor: undefined, commit: 0 }, refs: [], confState })
  const refs: EntryRef[] = []
  let lastIoId = 0
  const step = (input: Parameters<Raft['step']>[0]): void => {
    for (const effect of raft.step(input)) if (effect.type === 'append') lastIoId = effect.ioId
  }
  step({ type: 'tick', clockMs: initialTimeMs })
  step({ type: 'appended', ioId: lastIoId })
  step({ type: 'appended', ioId: lastIoId })
  const began = performance.now()
  for (let done = 0; done < count; done += batch) {
    for (let i = 0; i < batch; i++) {
      step({ type: 'propose', proposalId: done + i, kind: 3, bytes: 300, digest, clockMs: initialTimeMs + done })
    }
    step({ type: 'appended', ioId: lastIoId })
    step({ type: 'applied', index: raft.status.commit })
  }
  const appendUs = ((performance.now() - began) * 1000) / count
  const { lastIndex, term } = raft.status
  const bytesPerEntry = (usedBytes() - before) / lastIndex
  for (let index = 1; index <= lastIndex; index++) refs.push(raft.log.ref(index))

  const startBegan = performance.now()
  const hardState = { term, votedFor: id, commit: lastIndex }
  const again = new Raft(config, { hardState, refs, confState, applied: lastIndex })
  const startMs = performance.now() - startBegan
  if (again.status.lastIndex !== lastIndex) throw new Error('the core started with another log')
  refs.length = 0

  const compactBegan = performance.now()
  step({ type: 'compact', index: lastIndex - 1000 })
  const compactMs = performance.now() - compactBegan
  return { appendUs, bytesPerEntry, compactMs, startMs }
}

/** What is still referred to. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function tableOf(count: number, figures: readonly LogFigures[]): Table {
  const number = new Intl.NumberFormat('en-US').format(count)
  const of = (pick: (figure: LogFigures) => number) => measured(figures.map(pick))
  return {
    title: `A log of ${number} refs in the core`,
    columns: ['', 'figure'],
    rows: [
      ['append, commit and apply one, µs', of(({ appendUs }) => appendUs)],
      ['start from the whole log, ms', of(({ startMs }) => startMs)],
      ['memory, bytes per entry', of(({ bytesPerEntry }) => bytesPerEntry)],
      ['compact to the last 1,000, ms', of(({ compactMs }) => compactMs)],
    ],
    notes: ['One voter and no disk: nothing but the core is measured.'],
  }
}
