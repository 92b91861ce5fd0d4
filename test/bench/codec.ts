/**
 * What a command costs in our codec and in cbor2 (deterministic options, generic maps, no checks against the
 * format): encode and decode of a bundle of 256 heads, and of one.
 */
import { cdeDecodeOptions, cdeEncodeOptions, decode as cbor2Decode, encode as cbor2Encode } from 'cbor2'
import { decode, encode, equalBytes, type Codec } from '@cipherlog/core'
import { commandBundle, suites, type CommandBundle, type CommandHead } from '@cipherlog/format'
import { derived } from '../conformance/formats/world.ts'
import { inTurns, type Bench, type BenchContext } from './bench.ts'
import { measured, ratio, type Cell } from './report.ts'

export const codec: Bench = {
  name: 'codec',
  about: 'encoding and decoding of commands, against cbor2',
  async run(context) {
    const rows: Cell[][] = []
    for (const heads of [256, 1]) rows.push(...(await measureBundle(heads, context)))
    return [
      {
        title: 'Encoding and decoding',
        columns: ['', 'bytes per head', 'ours, µs per head', 'cbor2, µs per head', 'cbor2 / ours'],
        rows,
        notes: ['Ours checks every field and its bounds; cbor2 reads into generic maps.'],
      },
    ]
  },
}

function headNumber(i: number): CommandHead {
  return {
    namespace: 'orders/eu',
    op: 'put',
    key: derived(`key ${i}`, 33),
    keyset: derived('keyset', 16),
    keyEpoch: 3,
    suite: suites.hpkeXwing,
    envelope: derived('envelope', 32),
    commandId: derived(`command ${i}`, 16),
    ciphertext: { sha256: derived(`ciphertext ${i}`, 32), bytes: 304 },
  }
}

function bundleOf(heads: number): CommandBundle {
  return {
    version: 1,
    cluster: derived('cluster', 32),
    group: new Uint8Array(16),
    generation: 0,
    registry: 12,
    client: derived('client', 16),
    session: 4,
    firstSequence: 1_025,
    auth: 1,
    heads: Array.from({ length: heads }, (_, i) => headNumber(i)),
  }
}

async function measureBundle(heads: number, { rounds, quick, say }: BenchContext): Promise<Cell[][]> {
  const format: Codec<CommandBundle> = commandBundle
  const value = bundleOf(heads)
  const bytes = encode(format, value)
  const decodeOptions = { ...cdeDecodeOptions, preferMap: true }
  const generic: unknown = cbor2Decode(bytes, decodeOptions)
  if (!equalBytes(bytes, cbor2Encode(generic, cdeEncodeOptions))) throw new Error('the two encoders disagree')
  const operations = [
    ['encode', () => encode(format, value), () => cbor2Encode(generic, cdeEncodeOptions)],
    ['decode', () => decode(format, bytes), () => cbor2Decode(bytes, decodeOptions)],
  ] as const
  const rows: Cell[][] = []
  for (const [name, ...sides] of operations) {
    say(`${name} a bundle of ${heads}`)
    const calls = sides.map((run) => callsFor(quick ? 1 : 30, run))
    const times = sides.map(() => [] as number[])
    for (let round = 0; round < rounds; round++) {
      const turns = sides.map((run, i) => (): Promise<void> => {
        times[i]!.push((millisecondsOf(run, calls[i]!) * 1_000) / calls[i]! / heads)
        return Promise.resolve()
      })
      await inTurns(round, turns)
    }
    const [ours, theirs] = [measured(times[0]!), measured(times[1]!)]
    rows.push([`${name} a bundle of ${heads}`, measured([bytes.length / heads]), ours, theirs, ratio(theirs, ours)])
  }
  return rows
}

/** How many calls take at least so long; warms up on the way. */
function callsFor(ms: number, run: () => unknown): number {
  let calls = 1
  while (millisecondsOf(run, calls) < ms) calls *= 2
  return calls
}

function millisecondsOf(run: () => unknown, calls: number): number {
  const start = performance.now()
  for (let i = 0; i < calls; i++) run()
  return performance.now() - start
}
