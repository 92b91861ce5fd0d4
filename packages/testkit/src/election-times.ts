/**
 * How long a cluster is without a leader after its leader crashed: the experiment of Raft (extended paper) fig. 16,
 * with the real core on virtual time.
 *
 * Five servers, a broadcast time of roughly 15 ms (a message takes 2 to 4 ms one way, a synced write 8 to 10 ms). As in
 * the paper the worst case is arranged: logs differ in length, so that two of the four that are left cannot win, and
 * the leader sends heartbeats to all at once before it crashes at a random time within its heartbeat interval, which is
 * half of the least election timeout. Pre-vote and check-quorum, which the paper does not have, can be switched on.
 */
import { toHex } from '@cipherlog/core'
import { confStateOf, type Effect, type Input, type PeerId, Raft } from '@cipherlog/raft'
import { Prng } from './prng.ts'
import { raftNetworkConfig } from './raft-options.ts'

export interface ElectionTimeouts {
  /** Election timeouts are uniform in [`minMs`, `maxMs`]; `maxMs` is below twice `minMs`, or equal to it. */
  readonly minMs: number
  readonly maxMs: number
  /** Pre-vote and check-quorum. */
  readonly additions?: boolean
}

const servers = 5
const messageMs = [2, 4] as const
const writeMs = [8, 10] as const
const logEntries = 10

interface Server {
  readonly id: PeerId
  readonly raft: Raft
  /** It ticks at whole milliseconds plus this. */
  readonly phaseMs: number
  /** Its disk is busy until then: writes finish in order. */
  diskFreeAt: number
}

/** One trial: milliseconds from the crash of the leader to the election of another; `limitMs` if there was none by then. */
export function timeWithoutLeader(seed: number, timeouts: ElectionTimeouts, limitMs: number): number {
  const prng = new Prng(seed)
  const uniform = ([low, high]: readonly [number, number]): number => low + prng.float() * (high - low)
  const { minMs, maxMs, additions = false } = timeouts
  const ids = Array.from({ length: servers }, (_, at) => toHex(new Uint8Array(16).fill(at + 1)))
  const config = {
    ...raftNetworkConfig,
    electionTicks: minMs,
    heartbeatTicks: Math.max(1, Math.floor(minMs / 2)),
    preVote: additions,
    checkQuorum: additions,
    diskStallTicks: 0,
    // The core spreads timeouts over electionTicks … 2 · electionTicks − 1.
    random: () => (prng.float() * (maxMs - minMs + 1)) / minMs,
  }
  const confState = confStateOf(ids)
  const [crashed, ...left] = ids.map((id, at): Server => {
    // The leader and one follower have everything; the others lack one entry more each.
    const entries = logEntries - Math.max(0, at - 1)
    const refs = Array.from({ length: entries }, (_, i) => ({
      ...{ term: 1, index: i + 1, kind: 3, time: config.initialTimeMs, bytes: 10 },
      digest: new Uint8Array(32).fill(i + 1),
    }))
    const hardState = { term: 1, votedFor: undefined, commit: 0 }
    return {
      id,
      raft: new Raft({ ...config, id }, { hardState, refs, confState }),
      phaseMs: prng.float(),
      diskFreeAt: 0,
    }
  })

  /** What is under way, by time. */
  const events: { readonly at: number; readonly server: Server; readonly input: Input }[] = []
  const schedule = (at: number, server: Server, input: Input): void => {
    let slot = events.length
    while (slot > 0 && events[slot - 1]!.at > at) slot--
    events.splice(slot, 0, { at, server, input })
  }
  const perform = (now: number, server: Server, effect: Effect): void => {
    if (effect.type === 'append') {
      server.diskFreeAt = Math.max(now, server.diskFreeAt) + uniform(writeMs)
      schedule(server.diskFreeAt, server, { type: 'appended', ioId: effect.ioId })
    } else if (effect.type === 'send') {
      const to = left.find(({ id }) => id === effect.to)
      if (to === undefined) return
      schedule(now + uniform(messageMs), to, {
        type: 'message',
        message: effect.message,
        clockMs: config.initialTimeMs,
      })
    }
  }
  const step = (now: number, server: Server, input: Input): void => {
    for (const effect of server.raft.step(input)) perform(now, server, effect)
  }

  for (const server of left) {
    const heartbeat = { type: 'heartbeat', from: crashed!.id, to: server.id, term: 1, leaderCommit: 0, readContext: 0 }
    const message = heartbeat as Extract<Input, { type: 'message' }>['message']
    schedule(uniform(messageMs), server, { type: 'message', message, clockMs: config.initialTimeMs })
  }
  const crashedAt = prng.float() * config.heartbeatTicks
  left.sort((a, b) => a.phaseMs - b.phaseMs)
  for (let ms = 0; ms < crashedAt + limitMs; ms++) {
    for (const server of left) {
      const now = ms + server.phaseMs
      while (events.length > 0 && events[0]!.at <= now) {
        const event = events.shift()!
        step(event.at, event.server, event.input)
        if (event.server.raft.status.role === 'leader') return Math.max(0, event.at - crashedAt)
      }
      step(now, server, { type: 'tick', clockMs: config.initialTimeMs })
    }
  }
  return limitMs
}
