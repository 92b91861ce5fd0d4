/**
 * One process of the plain floor (plain.ts): appends frames to `log` and syncs it, all that wait at once; answers with
 * one byte a frame; then puts the records into the LevelDB database `db`, unsynced, one write at a time. It tells
 * its parent the port, and ends with the connection or with its parent.
 */
import fs from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ClassicLevel } from 'classic-level'
import { frameSplitter, recordsOf, settleFrame } from './plain-frame.ts'

const directory = process.argv[2]
if (directory === undefined || process.send === undefined) throw new Error('plain.ts starts this process')

const writev = promisify(fs.writev)
const fdatasync = promisify(fs.fdatasync)

fs.mkdirSync(directory, { recursive: true })
const log = fs.openSync(join(directory, 'log'), 'a')
const database = new ClassicLevel<Uint8Array, Uint8Array>(join(directory, 'db'), {
  keyEncoding: 'view',
  valueEncoding: 'view',
  // As in the replicas; the values are random bytes.
  compression: false,
})
await database.open()

process.once('disconnect', () => process.exit(1))
const server = createServer({ noDelay: true })
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.send((server.address() as AddressInfo).port)
const [socket] = (await once(server, 'connection')) as [Socket]
server.close()

let frames: Buffer[] = []
let wake = (): void => undefined
let ended = false
const split = frameSplitter()
socket.on('data', (chunk) => {
  frames.push(...split(chunk))
  wake()
})
socket.once('end', () => {
  ended = true
  wake()
})

let writing: Promise<void> = Promise.resolve()
for (;;) {
  if (frames.length === 0) {
    if (ended) break
    await new Promise<void>((resolve) => (wake = resolve))
    continue
  }
  if (frames[0]!.length === settleFrame.length) {
    await writing
    frames.shift()
    socket.write(Uint8Array.of(0))
    continue
  }
  const settle = frames.findIndex((frame) => frame.length === settleFrame.length)
  const group = settle === -1 ? frames : frames.slice(0, settle)
  frames = settle === -1 ? [] : frames.slice(settle)
  await writev(log, group)
  await fdatasync(log)
  socket.write(new Uint8Array(group.length))
  await writing
  writing = putAll(group)
}
await writing
await database.close()
fs.closeSync(log)
socket.end()
process.disconnect()

async function putAll(group: readonly Buffer[]): Promise<void> {
  const batch = database.batch()
  for (const frame of group) for (const { name, value } of recordsOf(frame)) batch.put(name, value)
  await batch.write()
}
