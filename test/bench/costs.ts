/** What it costs against plain, as a whole: a summary for the README, and the tables of docs/PERFORMANCE.md. */
import { type Bench, type BenchContext } from './bench.ts'
import { loadTables, measureLoad, metrics, sidesOf, valueBytes, type LoadFigures } from './load.ts'
import { both, measureProofs, proofTables, type ProofFigures } from './proofs.ts'
import { median, ratio, short, type Cell, type Measured, type Table } from './report.ts'
import { diskBytes, measureStored, sentBytes, storedTables, type StoredFigures } from './stored.ts'

export const costs: Bench = {
  name: 'costs',
  about: 'what it costs against plain: load, stored and proofs in one, with a summary',
  async run(context) {
    const load = await inScope(context, measureLoad)
    const stored = await inScope(context, measureStored)
    const proofs = await inScope(context, measureProofs)
    return [
      putSummary(load, stored),
      otherSummary(load, stored, proofs),
      ...loadTables(load),
      ...storedTables(stored),
      ...proofTables(proofs),
    ]
  },
}

/** Ends what one part started before the next begins. */
async function inScope<T>(context: BenchContext, part: (context: BenchContext) => Promise<T>): Promise<T> {
  await using scope = new AsyncDisposableStack()
  context.scope.defer(() => scope.disposeAsync())
  return await part({ ...context, scope })
}

function putSummary({ levels }: LoadFigures, stored: readonly StoredFigures[]): Table {
  const against = ([sealed, plain]: [Measured, Measured]): string =>
    `${short(median(sealed))} · ${short(median(ratio(sealed, plain)))}×`
  return {
    title: 'In short: puts',
    columns: [
      `values of ${valueBytes} bytes; sealed · ratio to plain`,
      ...levels.map(({ callers }) => `${callers} at once`),
    ],
    rows: [
      ...metrics.map(([title, key]): Cell[] => [title, ...levels.map((level) => against(sidesOf(level, key)))]),
      ['bytes sent by the client per put', ...stored.map((each) => against(sentBytes(each)))],
      ["bytes on each replica's disk per put", ...stored.map((each) => against(diskBytes(each)))],
    ],
    notes: [],
  }
}

function otherSummary(
  { receiptMs }: LoadFigures,
  stored: readonly StoredFigures[],
  { amount, vector }: ProofFigures,
): Table {
  const cpu = (costs: ProofFigures['vector']['add']): string => `${short(median(both(costs)[1]))} ms`
  const batch = amount.verify.find(({ batch }) => batch === 32) ?? amount.verify.at(-1)!
  const audits = stored.map(({ bundle, audit }) => `${short(median(audit))} ms in bundles of ${bundle}`)
  return {
    title: 'In short: everything else',
    columns: ['', 'costs'],
    rows: [
      ['from put to verified receipt, one put at a time', `${short(median(receiptMs))} ms`],
      ['audit of 1,000 commands', audits.join(', ')],
      ['client: prove an amount', `${short(median(both(amount.prove)[0]) / 1000)} s`],
      [
        `each server: check a proof, in a batch of ${batch.batch}`,
        `${cpu(batch.costs)} of CPU, and ${cpu(amount.statement)} for its statement`,
      ],
      ['client: encrypt a vector (BFV, 4,096 slots)', `${cpu(vector.encrypt)} of CPU`],
      ['each server: check and add a vector', `${cpu(vector.add)} of CPU`],
    ],
    notes: [],
  }
}
