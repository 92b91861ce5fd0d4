/** Streams that keep what was written to them. */
import { Readable, Writable } from 'node:stream'
import { type Io } from './context.ts'

export interface TestIo extends Io {
  /** What was printed so far. */
  out(): string
  err(): string
}

/** @param input - what standard input holds; a terminal is never there. */
export function testIo(env: Record<string, string> = {}, input = ''): TestIo {
  const [stdout, out] = collector()
  const [stderr, err] = collector()
  const stopSignal = (): AbortSignal => new AbortController().signal
  return { stdin: Readable.from([Buffer.from(input)]), stdout, stderr, env, stopSignal, out, err }
}

function collector(): [Writable, () => string] {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  return [stream, () => text]
}
