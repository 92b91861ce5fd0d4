/**
 * Idle groups stop their heartbeats and timers (dragonboat's and TiKV's way of keeping many groups in one process).
 *
 * A leader with nothing to do, whose members all hold and know everything, says so and falls silent; whoever agrees
 * with it on the last index falls asleep. Anything but a tick wakes: a proposal, a read, a message, a lost connection.
 * Invariant: sleep only delays; nobody who slept votes, leads or reads on the strength of time it did not count.
 */
import { type Core } from './core.ts'
import { type QuiesceMessage } from './messages.ts'
import { type Input } from './types.ts'

export interface QuiescenceDump {
  readonly asleep: boolean
  readonly idleTicks: number
}

export class Quiescence {
  readonly #core: Core
  #asleep = false
  #idleTicks = 0

  constructor(core: Core) {
    this.#core = core
  }

  get asleep(): boolean {
    return this.#asleep
  }

  /** Called for every input before it is taken. */
  notice(input: Input): void {
    if (this.#core.config.quiesceTicks === 0 || !disturbs(input)) return
    this.#idleTicks = 0
    if (this.#asleep) this.#wake(input)
  }

  /** A leader's tick: goes to sleep if it is time. True if asleep. */
  tick(): boolean {
    if (this.#asleep) return true
    const { config, role, replication, reads, transfer, reconfiguration } = this.#core
    if (config.quiesceTicks === 0 || role !== 'leader' || ++this.#idleTicks < config.quiesceTicks) return false
    if (!replication.allCaughtUp || !reads.idle || transfer.target !== undefined) return false
    if (reconfiguration.confState.votersOutgoing.length > 0) return false
    const { id, term, log, out } = this.#core
    for (const to of replication.peers.keys()) {
      out.send({ type: 'quiesce', from: id, to, term, index: log.lastIndex, wake: false })
    }
    this.#asleep = true
    return true
  }

  handle(message: QuiesceMessage): void {
    const { role, config, log, commit, writes, following } = this.#core
    if (role === 'leader' || message.wake) return
    following.followLeader(message.from)
    const { index } = message
    if (config.quiesceTicks === 0 || log.lastIndex !== index || commit !== index || writes.durableIndex !== index)
      return
    this.#asleep = true
  }

  dump(): QuiescenceDump {
    return { asleep: this.#asleep, idleTicks: this.#idleTicks }
  }

  load({ asleep, idleTicks }: QuiescenceDump): void {
    this.#asleep = asleep
    this.#idleTicks = idleTicks
  }

  #wake(input: Input): void {
    const { election, replication, role, leaderId, id, term, log, out } = this.#core
    this.#asleep = false
    election.elapsed = 0
    if (role === 'leader') {
      replication.forgiveSilence()
      replication.broadcastHeartbeat()
    } else if (leaderId !== undefined && input.type !== 'message') {
      // It sleeps too, and would only answer when asked.
      out.send({ type: 'quiesce', from: id, to: leaderId, term, index: log.lastIndex, wake: true })
    }
  }
}

const undisturbing: ReadonlySet<string> = new Set<Input['type']>([
  ...(['tick', 'appended', 'applied', 'compact', 'snapshotAvailable', 'forgetLeader'] as const),
])

/** The last answers to heartbeats come after the silence began; writes and machine finish what was there before. */
function disturbs(input: Input): boolean {
  if (input.type !== 'message') return !undisturbing.has(input.type)
  const { message } = input
  return message.type !== 'heartbeatResp' && (message.type !== 'quiesce' || message.wake === true)
}
