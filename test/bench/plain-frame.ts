/**
 * What is sent to a plain replica, and appended to its file as it is: u32 bytes of the records, then the records:
 * u16 bytes of the name, u32 bytes of the value, name, value. Numbers are big-endian. A frame without records asks for
 * an answer once the database has everything.
 */
export interface PlainRecord {
  readonly name: Uint8Array
  readonly value: Uint8Array
}

const frameHeaderBytes = 4
const recordHeaderBytes = 6

export const settleFrame = new Uint8Array(frameHeaderBytes)

export function plainFrame(records: readonly PlainRecord[]): Uint8Array {
  let bytes = frameHeaderBytes
  for (const { name, value } of records) bytes += recordHeaderBytes + name.length + value.length
  const frame = Buffer.allocUnsafe(bytes)
  frame.writeUInt32BE(bytes - frameHeaderBytes, 0)
  let at = frameHeaderBytes
  for (const { name, value } of records) {
    frame.writeUInt16BE(name.length, at)
    frame.writeUInt32BE(value.length, at + 2)
    frame.set(name, at + recordHeaderBytes)
    frame.set(value, at + recordHeaderBytes + name.length)
    at += recordHeaderBytes + name.length + value.length
  }
  return frame
}

export function recordsOf(frame: Buffer): PlainRecord[] {
  const records: PlainRecord[] = []
  for (let at = frameHeaderBytes; at < frame.length;) {
    const start = at + recordHeaderBytes
    const middle = start + frame.readUInt16BE(at)
    const end = middle + frame.readUInt32BE(at + 2)
    records.push({ name: frame.subarray(start, middle), value: frame.subarray(middle, end) })
    at = end
  }
  return records
}

/** Cuts a stream into frames; feed it every chunk in turn. */
export function frameSplitter(): (chunk: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const frames: Buffer[] = []
    while (rest.length >= frameHeaderBytes) {
      const end = frameHeaderBytes + rest.readUInt32BE(0)
      if (rest.length < end) break
      frames.push(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
    return frames
  }
}
