import { once } from 'node:events'
import { type AddressInfo } from 'node:net'
import { connect, createServer, type Server, type TLSSocket } from 'node:tls'
import { CipherlogError, concatBytes, fromHex, silentLogger, utf8, writeU32 } from '@cipherlog/core'
import {
  encodePeerFrameHead,
  peerFrameBytesMax,
  PeerFrameReader,
  type PeerFrame,
  type PeerHeader,
} from '@cipherlog/format/peer-frame'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Address } from './config.ts'
import { createMetrics } from './metrics.ts'
import { helloOf } from './peer-link.ts'
import { createPeerTransport, type PeerMember, type PeerMessageHeader, type PeerTransportOptions } from './peers.ts'
import { peerTlsOptions, pinnedTlsIdentity } from './tls.ts'

const cluster = new Uint8Array(32).fill(0xc1)
const group = new Uint8Array(16)
const timing = { redialMsMin: 10, redialMsMax: 40 }
const heartbeat = (readContext: number): PeerMessageHeader => ({
  type: 'heartbeat',
  group,
  term: 1,
  leaderCommit: 0,
  readContext,
})
const append = (...payloads: Uint8Array[]): PeerMessageHeader => ({
  type: 'append',
  group,
  term: 1,
  prevLogIndex: 0,
  prevLogTerm: 0,
  leaderCommit: 0,
  entries: payloads.map(({ length }, i) => ({
    term: 1,
    index: i + 1,
    kind: 3,
    time: 0,
    bytes: length,
    digest: cluster,
  })),
})

/** Replica `n`: its id and keys. */
function replica(n: number) {
  const tlsSeed = new Uint8Array(32).fill(n)
  const peerId = n.toString(16).padStart(2, '0').repeat(12) + '00000001'
  return { peerId, tlsSeed, identity: pinnedTlsIdentity(tlsSeed, 'test') }
}
const [a, b, stranger] = [replica(1), replica(2), replica(9)]
const memberOf = ({ peerId, identity }: ReturnType<typeof replica>, address: Address): PeerMember => ({
  peerId,
  tlsKey: identity.publicKey,
  address,
})
const nowhere: Address = { host: '127.0.0.1', port: 1 }
const loopback: Address = { host: '127.0.0.1', port: 0 }

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Received {
  readonly from: string
  readonly header: PeerMessageHeader
  readonly bodies: Uint8Array
}

/** A running transport of replica `self`, with what it received and the states it saw. */
async function start(
  self: ReturnType<typeof replica>,
  members: PeerTransportOptions['members'],
  options: Partial<PeerTransportOptions> = {},
) {
  const received: Received[] = []
  const states: (readonly [peerId: string, connected: boolean])[] = []
  const metrics = createMetrics({ process: false })
  const transport = createPeerTransport({
    self,
    cluster,
    members,
    listen: loopback,
    onFrame: (from, header, bodies) => void received.push({ from, header, bodies }),
    onStateChange: (peerId, connected) => void states.push([peerId, connected]),
    logger: silentLogger,
    metrics,
    timing,
    ...options,
  })
  let open = true
  const close = async (): Promise<void> => {
    if (open) await transport.close()
    open = false
  }
  closers.push(close)
  const address = await transport.start()
  return { transport, address, received, states, metrics, close }
}

/** Replica b alone, waiting for a, and a raw TLS connection to it. */
async function startListener(options: Partial<PeerTransportOptions> = {}) {
  const listener = await start(b, () => [memberOf(a, nowhere)], options)
  const dial = async (identity = a.identity) => {
    const socket = connect({ ...peerTlsOptions(identity), ...listener.address })
    closers.push(() => socket.destroy())
    socket.on('error', () => socket.destroy())
    const answers: PeerFrame[] = []
    const reader = new PeerFrameReader()
    socket.on('data', (chunk) => answers.push(...reader.push(chunk)))
    const closed = once(socket, 'close')
    await once(socket, 'secureConnect')
    return { socket, answers, closed }
  }
  return { ...listener, dial }
}

const frame = (header: PeerHeader, body: Uint8Array = new Uint8Array(0)) =>
  concatBytes(encodePeerFrameHead(header, body.length), body)
const helloA = frame(helloOf(cluster, fromHex(a.peerId)))

/** A raw TLS server with the identity of `self`; it does what `onSocket` does. */
async function startRaw(self: ReturnType<typeof replica>, onSocket: (socket: TLSSocket) => void) {
  const sockets: TLSSocket[] = []
  let dials = 0
  const server: Server = createServer(peerTlsOptions(self.identity), (socket) => {
    sockets.push(socket)
    socket.on('error', () => socket.destroy())
    onSocket(socket)
  })
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  server.on('connection', () => dials++)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { sockets, dials: () => dials, address: { host: '127.0.0.1', port } }
}

describe('peer transport', () => {
  it('carries frames both ways, in order, with their bodies', async () => {
    let addressB = nowhere
    let addressA = nowhere
    const left = await start(a, () => [memberOf(b, addressB)])
    const right = await start(b, () => [memberOf(a, addressA)])
    ;[addressA, addressB] = [left.address, right.address]
    left.transport.membersChanged()
    right.transport.membersChanged()
    await vi.waitFor(() => expect([left.states, right.states]).toEqual([[[b.peerId, true]], [[a.peerId, true]]]))
    const payloads = [utf8('one'), new Uint8Array(0), new Uint8Array(3_000_000).fill(7)]
    for (let i = 0; i < 100; i++) expect(left.transport.send(b.peerId, heartbeat(i))).toBe(true)
    expect(left.transport.send(b.peerId, append(...payloads), payloads)).toBe(true)
    expect(right.transport.send(a.peerId, heartbeat(1000))).toBe(true)
    await vi.waitFor(() => expect([right.received.length, left.received.length]).toEqual([101, 1]))
    expect(right.received.slice(0, 100).map(({ header }) => header)).toEqual(
      Array.from({ length: 100 }, (_, i) => heartbeat(i)),
    )
    expect(right.received[100]).toEqual({
      from: a.peerId,
      header: append(...payloads),
      bodies: concatBytes(...payloads),
    })
    expect(left.received).toEqual([{ from: b.peerId, header: heartbeat(1000), bodies: new Uint8Array(0) }])
    expect(await left.metrics.registry.metrics()).toMatch(/peer_sent_bytes_total\{peer="\w+"\} 3\d{6}\n/)
  })

  it('measures the round trip to a peer', async () => {
    const { address } = await startListener()
    const left = await start(a, () => [memberOf(b, address)], { timing: { ...timing, pingIntervalMs: 5 } })
    await vi.waitFor(async () => {
      expect(await left.metrics.registry.metrics()).toMatch(/peer_round_trip_time_seconds_count\{peer="\w+"\} [1-9]/)
    })
  })

  it('drops frames to peers that are unknown or not connected, and says so', async () => {
    const left = await start(a, () => [memberOf(b, nowhere)])
    expect(left.transport.send(b.peerId, heartbeat(1))).toBe(false)
    expect(left.transport.send(stranger.peerId, heartbeat(1))).toBe(false)
    expect(left.transport.connected(b.peerId)).toBe(false)
  })

  it('fails with a typed error if the address is in use', async () => {
    const { address } = await startListener()
    await expect(start(a, () => [], { listen: address })).rejects.toMatchObject({ code: 'ERR_LISTEN_ADDRESS_IN_USE' })
  })

  it('connects again after the peer was gone', async () => {
    const first = await startListener()
    const left = await start(a, () => [memberOf(b, first.address)])
    await vi.waitFor(() => expect(left.transport.connected(b.peerId)).toBe(true))
    await first.close()
    await vi.waitFor(() => expect(left.transport.connected(b.peerId)).toBe(false))
    expect(left.transport.send(b.peerId, heartbeat(1))).toBe(false)
    const second = await startListener({ listen: first.address })
    await vi.waitFor(() => expect(left.transport.connected(b.peerId)).toBe(true))
    expect(left.transport.send(b.peerId, heartbeat(2))).toBe(true)
    await vi.waitFor(() => expect(second.received.map(({ header }) => header)).toEqual([heartbeat(2)]))
    expect(left.states.map(([, connected]) => connected)).toEqual([true, false, true])
  })

  it('ends connections of a peer that is no longer a member, both ways', async () => {
    let addressA = nowhere
    let isMember = true
    const right = await start(b, () => (isMember ? [memberOf(a, addressA)] : []))
    const left = await start(a, () => [memberOf(b, right.address)])
    addressA = left.address
    right.transport.membersChanged()
    await vi.waitFor(() => expect([left.states.length, right.states.length]).toEqual([1, 1]))
    isMember = false
    right.transport.membersChanged()
    await vi.waitFor(() => expect(left.states.at(-1)).toEqual([b.peerId, false]))
    expect(right.states.at(-1)).toEqual([a.peerId, false])
    expect(right.transport.send(a.peerId, heartbeat(1))).toBe(false)
  })
})

describe('peer transport and membership', () => {
  const notMember = { type: 'notMember', group, index: 40 } as const

  it('tells a listed replica that is no member so, and takes nothing from it', async () => {
    const { dial, received, states } = await startListener({
      members: () => [],
      listed: () => [{ peerId: a.peerId, tlsKey: a.identity.publicKey }],
      notMember: () => notMember,
    })
    const { socket, answers, closed } = await dial()
    socket.write(concatBytes(helloA, frame(heartbeat(1))))
    await closed
    expect(answers.map(({ header }) => header)).toEqual([notMember])
    expect([received, states]).toEqual([[], []])
  })

  it('tells a member that is removed so, and never counts as connected for it again', async () => {
    let isMember = true
    const said: unknown[] = []
    const right = await start(b, () => (isMember ? [{ ...memberOf(a, nowhere), address: undefined }] : []), {
      listed: () => [{ peerId: a.peerId, tlsKey: a.identity.publicKey }],
      notMember: () => notMember,
    })
    const left = await start(a, () => [memberOf(b, right.address)], {
      onNotMember: (from, header) => said.push([from, header]),
    })
    await vi.waitFor(() => expect(left.states).toEqual([[b.peerId, true]]))
    isMember = false
    right.transport.membersChanged()
    await vi.waitFor(() => expect(said.length).toBeGreaterThan(2))
    expect(said[0]).toEqual([b.peerId, notMember])
    expect(left.states).toEqual([
      [b.peerId, true],
      [b.peerId, false],
    ])
  })

  it('takes frames of a member whose address it does not know', async () => {
    const right = await start(b, () => [{ ...memberOf(a, nowhere), address: undefined }])
    const left = await start(a, () => [memberOf(b, right.address)])
    await vi.waitFor(() => expect(left.transport.send(b.peerId, heartbeat(1))).toBe(true))
    await vi.waitFor(() => expect(right.received.map(({ header }) => header)).toEqual([heartbeat(1)]))
    expect(right.transport.send(a.peerId, heartbeat(2))).toBe(false)
  })

  it('learns from the hello which rules a peer can apply, 1 if it says nothing', async () => {
    const newer = await startListener({ rulesVersionMax: 3 })
    const left = await start(a, () => [memberOf(b, newer.address)])
    expect(left.transport.rulesVersionMax(b.peerId)).toBeUndefined()
    await vi.waitFor(() => expect(left.transport.rulesVersionMax(b.peerId)).toBe(3))
    await newer.close()
    const older = await startListener({ listen: newer.address })
    await vi.waitFor(() => expect(left.transport.rulesVersionMax(b.peerId)).toBe(1))
    await older.close()
  })
})

describe('peer transport, dialled', () => {
  it('refuses a stranger before reading a byte', async () => {
    const { dial, received } = await startListener()
    const { socket, answers, closed } = await dial(stranger.identity)
    socket.write(concatBytes(helloA, frame(heartbeat(1))))
    await closed
    expect([answers, received]).toEqual([[], []])
  })

  it('refuses a client without a certificate', async () => {
    const { address, received } = await startListener()
    const socket = connect({ ...address, rejectUnauthorized: false })
    socket.on('error', () => socket.destroy())
    await once(socket, 'close')
    expect(received).toEqual([])
  })

  it.each([
    ['of another cluster', frame(helloOf(new Uint8Array(32), fromHex(a.peerId)))],
    ['with the id of a member that has another key', frame(helloOf(cluster, fromHex(b.peerId)))],
    ['that comes after another frame', concatBytes(frame(heartbeat(1)), helloA)],
    ['that is too long', concatBytes(new Uint8Array([0, 0, 4, 1]), new Uint8Array(1025))],
  ])('refuses a hello %s', async (_what, bytes) => {
    const { dial, received } = await startListener()
    const { socket, answers, closed } = await dial()
    socket.write(concatBytes(bytes, frame(heartbeat(2))))
    await closed
    expect([answers, received]).toEqual([[], []])
  })

  it('ends the connection on a length above the limit, at once, and delivers what came before', async () => {
    const { dial, received } = await startListener()
    const { socket, answers, closed } = await dial()
    const length = new Uint8Array(4)
    writeU32(length, 0, peerFrameBytesMax + 1)
    socket.write(concatBytes(helloA, frame(heartbeat(1)), length))
    await closed
    expect(answers.map(({ header }) => header.type)).toEqual(['hello'])
    expect(received.map(({ header }) => header)).toEqual([heartbeat(1)])
  })

  it('ignores and counts frames of unknown kinds', async () => {
    const { dial, received, metrics } = await startListener()
    const { socket } = await dial()
    const unknown = concatBytes(fromHex('0000000b'), fromHex('00000004'), fromHex('8218c8a0'), utf8('new'))
    socket.write(concatBytes(helloA, unknown, frame(heartbeat(1))))
    await vi.waitFor(() => expect(received.map(({ header }) => header)).toEqual([heartbeat(1)]))
    expect(await metrics.registry.metrics()).toContain(`peer_unknown_frames_total{peer="${a.peerId}"} 1\n`)
  })

  it('ends the connection, and only that, when a frame is not acceptable to its reader', async () => {
    const onFrame = () => {
      throw new CipherlogError('ERR_RAFT_MESSAGE', 'Impossible.')
    }
    const { dial } = await startListener({ onFrame })
    const first = await dial()
    first.socket.write(concatBytes(helloA, frame(heartbeat(1))))
    await first.closed
    const second = await dial()
    second.socket.write(helloA)
    await vi.waitFor(() => expect(second.answers.map(({ header }) => header.type)).toEqual(['hello']))
  })

  it('lets a new connection of a peer replace the old one', async () => {
    const { dial, received } = await startListener()
    const first = await dial()
    first.socket.write(helloA)
    await vi.waitFor(() => expect(first.answers).toHaveLength(1))
    const second = await dial()
    second.socket.write(concatBytes(helloA, frame(heartbeat(2))))
    await first.closed
    await vi.waitFor(() => expect(received.map(({ header }) => header)).toEqual([heartbeat(2)]))
  })

  it('gives up on a peer that says nothing, before and after its hello', async () => {
    const { dial } = await startListener({ timing: { ...timing, handshakeMsMax: 30, idleMsMax: 60 } })
    const silent = await dial()
    const silentLater = await dial()
    silentLater.socket.write(helloA)
    await silent.closed
    await silentLater.closed
    expect(silentLater.answers).toHaveLength(1)
  })
})

describe('peer transport, dialling', () => {
  it('sends nothing to a server whose key is not the listed one', async () => {
    const data: Uint8Array[] = []
    const raw = await startRaw(stranger, (socket) => socket.on('data', (chunk) => data.push(chunk)))
    const left = await start(a, () => [memberOf(b, raw.address)])
    await vi.waitFor(() => expect(raw.dials()).toBeGreaterThan(2))
    expect([data, left.states]).toEqual([[], []])
  })

  it('refuses a server that answers for another cluster', async () => {
    const raw = await startRaw(b, (socket) => socket.write(frame(helloOf(new Uint8Array(32), fromHex(b.peerId)))))
    const left = await start(a, () => [memberOf(b, raw.address)])
    await vi.waitFor(() => expect(raw.dials()).toBeGreaterThan(2))
    expect(left.states).toEqual([])
  })

  it('refuses a server that sends messages as answers', async () => {
    const helloB = frame(helloOf(cluster, fromHex(b.peerId)))
    const raw = await startRaw(b, (socket) => socket.write(concatBytes(helloB, frame(heartbeat(1)))))
    const left = await start(a, () => [memberOf(b, raw.address)])
    await vi.waitFor(() => expect(left.states.slice(0, 2).map(([, connected]) => connected)).toEqual([true, false]))
    expect(left.received).toEqual([])
  })

  it('drops frames when its queue is full, takes one longer than the queue, and goes on once there is room', async () => {
    const reader = new PeerFrameReader()
    const delivered: PeerFrame[] = []
    const raw = await startRaw(b, (socket) => {
      socket.pause()
      socket.write(frame(helloOf(cluster, fromHex(b.peerId))))
      socket.on('data', (chunk) => delivered.push(...reader.push(chunk)))
      socket.pause()
    })
    const queueBytesMax = 1_000_000
    const left = await start(a, () => [memberOf(b, raw.address)], { queueBytesMax })
    await vi.waitFor(() => expect(left.transport.connected(b.peerId)).toBe(true))
    const large = new Uint8Array(9_000_000)
    expect(left.transport.send(b.peerId, append(large), [large])).toBe(true)
    let accepted = 1
    for (let i = 0; i < 100; i++) {
      const body = new Uint8Array(100_000)
      if (left.transport.send(b.peerId, append(body), [body])) accepted++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(accepted).toBeLessThan(100)
    expect(await left.metrics.registry.metrics()).toContain(
      `peer_dropped_frames_total{peer="${b.peerId}"} ${101 - accepted}\n`,
    )
    raw.sockets[0]!.resume()
    await vi.waitFor(() => expect(delivered.filter(({ header }) => header.type === 'append')).toHaveLength(accepted))
    await vi.waitFor(() => expect(left.transport.send(b.peerId, heartbeat(1))).toBe(true))
  })

  it('dials again when the peer takes and answers nothing any more', async () => {
    const raw = await startRaw(b, (socket) => {
      socket.write(frame(helloOf(cluster, fromHex(b.peerId))))
      socket.pause()
    })
    const left = await start(a, () => [memberOf(b, raw.address)], {
      timing: { ...timing, pingIntervalMs: 5, silenceMsMax: 30 },
    })
    await vi.waitFor(() => expect(raw.sockets.length).toBeGreaterThan(1))
    expect(left.states.slice(0, 2).map(([, connected]) => connected)).toEqual([true, false])
  })
})
