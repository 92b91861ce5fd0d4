/**
 * What goes wrong in a run, and when. Every rate is drawn from the seed, so that some runs meet one kind of fault often
 * and others a little of each. Network rates are those of TigerBeetle's VOPR; faults of processes and disks, which
 * there come every few million ticks, come often enough here for a run of some seconds to meet them.
 */
import { type Prng } from '../prng.ts'
import { type Counts } from './counts.ts'
import { type Scheduler } from './scheduler.ts'
import { type NetworkFaults, type SimulatedNetwork } from './simulated-network.ts'
import { type SimulatedReplica } from './simulated-replica.ts'

/** Chances each are per fault tick, and per replica unless they concern the network. */
export interface FaultProfile {
  readonly network: NetworkFaults
  readonly partition: number
  readonly heal: number
  readonly kill: number
  readonly losePower: number
  /** Power fails in the middle of a change on disk, some changes from now. */
  readonly crashAtWrite: number
  readonly losePowerEverywhere: number
  readonly downMsMax: number
  readonly pause: number
  readonly pauseMsMax: number
  readonly hang: number
  readonly hangMsMax: number
  readonly slowDisk: number
  readonly fullDisk: number
  readonly flip: number
  readonly misdirect: number
  /** Leadership is handed over, given up, or no longer believed in. */
  readonly unseat: number
  readonly clockJump: number
  /** Every clock's error, in ms. */
  readonly skewMsMax: number
}

const faultTickMs = 100
/** A third of the runs do without a kind of fault, so that others can go on longer. */
const absent = 1 / 3

export function drawFaults(prng: Prng): FaultProfile {
  const rate = (max: number): number => (prng.chance(absent) ? 0 : prng.float() ** 2 * max)
  return {
    network: {
      loss: rate(0.3),
      replay: rate(0.5),
      delayMsMean: 0.5 + prng.float() ** 2 * 40,
      clog: rate(0.02) * prng.float(),
      clogMsMax: 100 + prng.float() * 4900,
    },
    partition: rate(0.03),
    heal: 0.03 + prng.float() * 0.2,
    kill: rate(0.02),
    losePower: rate(0.02),
    crashAtWrite: rate(0.02),
    losePowerEverywhere: rate(0.01),
    downMsMax: 100 + prng.float() ** 2 * 5000,
    pause: rate(0.02),
    pauseMsMax: 100 + prng.float() ** 2 * 4000,
    hang: rate(0.02),
    hangMsMax: 100 + prng.float() ** 2 * 5000,
    slowDisk: rate(0.02),
    fullDisk: rate(0.01),
    // Two thirds of the runs keep their disks: a replica that cannot mend itself is missing from then on.
    flip: prng.chance(0.5) ? 0 : rate(0.01),
    misdirect: prng.chance(0.5) ? 0 : rate(0.005),
    unseat: rate(0.02),
    clockJump: rate(0.03),
    skewMsMax: prng.float() * 200,
  }
}

export interface FaultWorld {
  readonly scheduler: Scheduler
  readonly network: SimulatedNetwork
  readonly counts: Counts
  readonly replicas: readonly SimulatedReplica[]
  readonly clients: readonly string[]
  readonly onDamaged: (replica: SimulatedReplica) => void
}

export class FaultInjector {
  readonly #world: FaultWorld
  readonly #profile: FaultProfile
  readonly #prng: Prng
  /**
   * The fault atlas: fewer than half, and the only ones whose synced bytes are damaged and whose clocks may be anything.
   * So a quorum keeps a good copy of everything and the right time, and every run can be survived.
   */
  readonly #unlucky: SimulatedReplica[]
  #active = false

  constructor(world: FaultWorld, profile: FaultProfile, prng: Prng) {
    this.#world = world
    this.#profile = profile
    this.#prng = prng
    const { replicas } = world
    this.#unlucky = prng.shuffle(replicas).slice(0, Math.floor((replicas.length - 1) / 2))
    for (const replica of replicas) replica.clockErrorMs = (2 * prng.float() - 1) * profile.skewMsMax
  }

  /** Of the fault atlas, in service: its disk may be taken away altogether. */
  get replaceable(): SimulatedReplica | undefined {
    return this.#unlucky.find(({ lost }) => lost) ?? this.#unlucky[0]
  }

  /** Out of the fault atlas: its successor has to catch up first, and its disk is left alone. */
  replaced(old: SimulatedReplica): void {
    const at = this.#unlucky.indexOf(old)
    if (at !== -1) this.#unlucky.splice(at, 1)
  }

  /** Whether its disk may be damaged, so that it may never come back. */
  isUnlucky(replica: SimulatedReplica): boolean {
    return this.#unlucky.includes(replica)
  }

  begin(): void {
    this.#active = true
    this.#world.network.faults = this.#profile.network
    this.#tick()
  }

  /** Ends every fault for good; whoever is down comes up. */
  calm(): void {
    this.#active = false
    const { network, replicas, scheduler } = this.#world
    network.calm()
    this.#reconnect()
    for (const replica of replicas) {
      const { disk, process } = replica
      disk.full = false
      disk.slowness = 1
      disk.countdown = undefined
      disk.unhang()
      if (process?.paused === true) scheduler.resume(process)
      if (!replica.isUp && !replica.lost) this.restart(replica, 0)
    }
  }

  /** What was lost on a connection is followed by a new connection, on which peers say again what they say first. */
  #reconnect(): void {
    const { replicas, scheduler } = this.#world
    for (const { running } of replicas) {
      if (running === undefined) continue
      for (const peer of replicas) {
        if (!peer.isUp || peer.running === running) continue
        scheduler.after(1, running.process, 'connected', () => running.member.peerStateChanged(peer.id, true))
      }
    }
  }

  /** Starts a replica after a while, unless somebody has. */
  restart(replica: SimulatedReplica, delayMs: number): void {
    this.#world.scheduler.after(delayMs, undefined, `start ${replica.name}`, () => {
      if (replica.isUp || replica.lost) return
      this.#world.counts.add('restart')
      replica.start()
    })
  }

  #tick(): void {
    if (!this.#active) return
    this.#networkFaults()
    for (const replica of this.#world.replicas) if (replica.isUp) this.#replicaFaults(replica)
    for (const replica of this.#unlucky) if (!replica.lost) this.#damage(replica)
    this.#world.scheduler.after(faultTickMs, undefined, 'faults', () => this.#tick())
  }

  #networkFaults(): void {
    const { network, counts, replicas } = this.#world
    const { partition, heal, losePowerEverywhere } = this.#profile
    if (network.isCut && this.#prng.chance(heal)) {
      counts.add('partition healed')
      network.heal()
      this.#reconnect()
    }
    if (!network.isCut && this.#prng.chance(partition)) this.#partition()
    if (this.#prng.chance(losePowerEverywhere)) {
      counts.add('power lost everywhere')
      for (const replica of replicas) if (replica.isUp) this.#crash(replica, 'power')
    }
  }

  /** Replicas by size drawn first, by a coin for each, or one alone; clients stay with all or go with one side. */
  #partition(): void {
    const { network, counts, replicas, clients } = this.#world
    const prng = this.#prng
    const names = prng.shuffle(replicas.map(({ name }) => name))
    const kind = prng.pick(['size', 'split', 'one'] as const)
    const size = kind === 'size' ? prng.between(1, names.length - 1) : kind === 'one' ? 1 : -1
    const a = names.filter((_, at) => (size === -1 ? prng.chance(0.5) : at < size))
    const b = names.filter((name) => !a.includes(name))
    if (prng.chance(0.3)) b.push(...clients)
    network.cut(a, b)
    const oneWay = prng.chance(0.4)
    if (!oneWay) network.cut(b, a)
    counts.add(`partition (${kind === 'one' ? 'one isolated' : kind}${oneWay ? ', one-way' : ''})`)
    for (const replica of replicas) {
      for (const name of names) {
        const peer = replicas.find((other) => other.name === name)!
        // A transport notices some lost connections.
        if (peer !== replica && prng.chance(0.2)) replica.running?.member.peerStateChanged(peer.id, false)
      }
    }
  }

  #replicaFaults(replica: SimulatedReplica): void {
    const { counts, scheduler } = this.#world
    const { kill, losePower, crashAtWrite, pause, hang, slowDisk, fullDisk, clockJump } = this.#profile
    const { disk, process } = replica
    const prng = this.#prng
    if (prng.chance(this.#profile.unseat)) this.#unseat(replica)
    if (prng.chance(kill)) return this.#crash(replica, 'kill')
    if (prng.chance(losePower)) return this.#crash(replica, 'power')
    if (prng.chance(crashAtWrite) && disk.countdown === undefined) {
      disk.countdown = prng.between(1, 30)
      disk.onCountdown = () =>
        // In the middle of the change that is under way now.
        scheduler.after(prng.float() * 0.05, undefined, 'crash at a write', () => {
          if (!replica.isUp || replica.process !== process) return
          counts.add('crash at a write')
          this.#crash(replica, prng.chance(0.8) ? 'power' : 'kill')
        })
    }
    if (prng.chance(pause) && process?.paused === false) {
      counts.add('pause')
      process.paused = true
      scheduler.after(prng.float() * this.#profile.pauseMsMax, undefined, 'resume', () => scheduler.resume(process))
    }
    if (prng.chance(hang) && !disk.hung) {
      counts.add('disk hung')
      disk.hung = true
      scheduler.after(prng.float() * this.#profile.hangMsMax, undefined, 'unhang', () => disk.unhang())
    }
    if (prng.chance(slowDisk)) {
      counts.add('disk slow')
      disk.slowness = 1 + prng.float() * 50
      scheduler.after(prng.float() * 2000, undefined, 'disk fast', () => (disk.slowness = 1))
    }
    if (prng.chance(fullDisk) && !disk.full) {
      counts.add('disk full')
      disk.full = true
      scheduler.after(prng.float() * 2000, undefined, 'disk has space', () => (disk.full = false))
    }
    if (prng.chance(clockJump) && this.#unlucky.includes(replica)) {
      counts.add('clock jump')
      replica.clockErrorMs = (2 * prng.float() - 1) * 10 ** prng.between(3, 8)
    }
  }

  /** What an operator may ask of any replica at any time. */
  #unseat({ running, process }: SimulatedReplica): void {
    if (running === undefined || process?.paused === true) return
    const { counts, scheduler, replicas } = this.#world
    const { replicator } = running.member
    scheduler.as(running.process, () => {
      const roll = this.#prng.float()
      if (roll < 0.6) {
        const { id } = this.#prng.pick(replicas)
        replicator.transferLeadership(id).then(
          () => counts.add('leadership transferred'),
          () => counts.add('leadership not transferred'),
        )
      } else if (roll < 0.8) {
        if (replicator.status().role === 'leader') counts.add('leader stepped down')
        replicator.stepDown()
      } else {
        counts.add('leader forgotten')
        replicator.forgetLeader()
      }
    })
  }

  /** Whether its process runs or not. */
  #damage(replica: SimulatedReplica): void {
    const { counts, onDamaged } = this.#world
    const store = this.#prng.chance(0.7) ? 'wal' : 'trail'
    if (this.#prng.chance(this.#profile.flip) && replica.disk.flipBit(store)) {
      counts.add(`bit flipped (${store})`)
      onDamaged(replica)
    }
    if (this.#prng.chance(this.#profile.misdirect) && replica.disk.misdirectWrite(store)) {
      counts.add(`write misdirected (${store})`)
      onDamaged(replica)
    }
  }

  #crash(replica: SimulatedReplica, how: 'kill' | 'power'): void {
    this.#world.counts.add(how === 'kill' ? 'process killed' : 'power lost')
    if (how === 'kill') replica.kill()
    else replica.losePower()
    this.restart(replica, this.#prng.float() * this.#profile.downMsMax)
  }
}
