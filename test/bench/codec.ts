/**
 * What a command costs in our codec and in cbor2 (deterministic options, generic maps, no checks against the
 * format): encode and decode of a bundle of 256 heads, and of one.
 * Run by hand: `node test/bench/codec.ts`. Figures are for this machine; the ratios travel better.
 */
import { cpus } from 'node:os'
import { cdeDecodeOptions, cdeEncodeOptions, decode as cbor2Decode, encode as cbor2Encode } from 'cbor2'
import { decode, encode, equalBytes, type Codec } from '@cipherlog/core'
import { commandBundle, suites, type CommandBundle, type CommandHead } from '@cipherlog/format'
import { derived } from '../conformance/formats/world.ts'

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

/** Median of nine rounds, in microseconds per call. */
function microseconds(run: () => unknown): number {
  let calls = 1
  for (let elapsed = 0; elapsed < 30; calls *= 2) elapsed = millisecondsOf(run, calls)
  const rounds = Array.from({ length: 9 }, () => (millisecondsOf(run, calls) / calls) * 1_000)
  return rounds.sort((a, b) => a - b)[4]!
}

function millisecondsOf(run: () => unknown, calls: number): number {
  const start = performance.now()
  for (let i = 0; i < calls; i++) run()
  return performance.now() - start
}

function measure(heads: number): void {
  const codec: Codec<CommandBundle> = commandBundle
  const value = bundleOf(heads)
  const bytes = encode(codec, value)
  const decodeOptions = { ...cdeDecodeOptions, preferMap: true }
  const generic: unknown = cbor2Decode(bytes, decodeOptions)
  if (!equalBytes(bytes, cbor2Encode(generic, cdeEncodeOptions))) throw new Error('the two encoders disagree')
  console.log(`bundle of ${heads}: ${(bytes.length / heads).toFixed(0)} bytes per head`)
  const rows = [
    ['encode', () => encode(codec, value), () => cbor2Encode(generic, cdeEncodeOptions)],
    ['decode', () => decode(codec, bytes), () => cbor2Decode(bytes, decodeOptions)],
  ] as const
  for (const [name, ours, theirs] of rows) {
    const [a, b] = [microseconds(ours) / heads, microseconds(theirs) / heads]
    console.log(`  ${name}  ours ${a.toFixed(2)} µs/head  cbor2 ${b.toFixed(2)} µs/head  ratio ${(b / a).toFixed(1)}`)
  }
}

console.log(`node ${process.versions.node}, ${cpus()[0]?.model ?? 'unknown processor'}`)
measure(256)
measure(1)
