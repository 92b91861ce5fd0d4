/**
 * *Plain*: the floor that sealed puts are compared with. Three processes (plain-replica.ts), each with one log file
 * and one LevelDB database; this process sends the same names and values to all three over loopback TCP, in groups
 * as large as there are puts waiting, and a put is done when two of three have appended its group and synced the file
 * with fdatasync. The databases are written behind that, as those of replicas are.
 *
 * What it leaves out is what is measured: no encryption, signature, TLS, session or grant, no leader and no
 * election, no tree, no checkpoint, no proof of anything.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { utf8 } from '@cipherlog/core'
import { plainFrame, settleFrame, type PlainRecord } from './plain-frame.ts'

const replicas = 3
const quorum = 2
/** As in a bundle of commands. */
const groupMax = 256

interface Waiting extends PlainRecord {
  readonly resolve: (group: number) => void
  readonly reject: (error: Error) => void
}

/** A frame on its way: how many replicas have answered, and who wants to know. */
interface Sent {
  answers: number
  readonly enough: number
  readonly done: () => void
  readonly fail: (error: Error) => void
}

export class PlainPeers {
  readonly directories: readonly string[]
  readonly #children: readonly ChildProcess[]
  readonly #sockets: readonly Socket[]
  /** Frames by number; a replica answers in order, so it needs to name none. */
  readonly #sent = new Map<number, Sent>()
  #frames = 0
  #bytesSent = 0
  #waiting: Waiting[] = []
  #flushing = false
  #failure: Error | undefined
  #closed = false

  private constructor(directories: readonly string[], children: readonly ChildProcess[], sockets: readonly Socket[]) {
    this.directories = directories
    this.#children = children
    this.#sockets = sockets
    for (const socket of sockets) this.#listen(socket)
  }

  /** Starts the processes. Whoever owns `scope` stops them. */
  static async create(directory: string, scope: AsyncDisposableStack): Promise<PlainPeers> {
    const directories = Array.from({ length: replicas }, (_, i) => join(directory, String(i + 1)))
    const file = fileURLToPath(new URL('./plain-replica.ts', import.meta.url))
    const children = directories.map((each) => fork(file, [each]))
    // A replica ends when this process does: its channel closes.
    const sockets = await Promise.all(
      children.map(async (child) => {
        const [port] = (await once(child, 'message')) as [number]
        const socket = connect({ host: '127.0.0.1', port, noDelay: true })
        await once(socket, 'connect')
        return socket
      }),
    )
    const peers = new PlainPeers(directories, children, sockets)
    scope.defer(() => peers.close())
    return peers
  }

  get pids(): number[] {
    return this.#children.map(({ pid }) => pid!)
  }

  /** To each replica, so far. */
  get bytesSent(): number {
    return this.#bytesSent
  }

  /** Resolves once two of three files have it for good, with the number of its group. */
  put(name: string, value: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name: utf8(name), value, resolve, reject })
      if (this.#flushing) return
      this.#flushing = true
      // Whatever is put in the same turn goes into the same group.
      setImmediate(() => this.#flush())
    })
  }

  /** Resolves once all files and databases of all three have everything. */
  async settle(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await new Promise<void>((done, fail) => this.#send(settleFrame, { enough: replicas, done, fail }))
  }

  /** Stops the processes; their files stay. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const socket of this.#sockets) socket.end()
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      }),
    )
  }

  #flush(): void {
    const group = this.#waiting.splice(0, groupMax)
    if (group.length === 0) {
      this.#flushing = false
      return
    }
    const number = this.#frames
    this.#send(plainFrame(group), {
      enough: quorum,
      done: () => {
        for (const { resolve } of group) resolve(number)
        setImmediate(() => this.#flush())
      },
      fail: (error) => {
        for (const { reject } of group) reject(error)
      },
    })
  }

  #send(frame: Uint8Array, sent: Omit<Sent, 'answers'>): void {
    this.#sent.set(this.#frames++, { answers: 0, ...sent })
    this.#bytesSent += frame.length
    for (const socket of this.#sockets) socket.write(frame)
  }

  /** One byte for each frame, in order. */
  #listen(socket: Socket): void {
    let answered = 0
    socket.on('data', (bytes) => {
      for (let i = 0; i < bytes.length; i++) this.#answered(answered++)
    })
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => {
      if (!this.#closed) this.#fail(new Error('a plain replica ended; its output says why'))
    })
  }

  #answered(frame: number): void {
    const sent = this.#sent.get(frame)!
    sent.answers++
    if (sent.answers === sent.enough) sent.done()
    if (sent.answers === replicas) this.#sent.delete(frame)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
    // Those with enough answers are settled already.
    for (const { fail } of this.#sent.values()) fail(this.#failure)
    this.#sent.clear()
  }
}
