/**
 * Who runs the simulated cluster: replaces replicas whose disks are gone by new ones with new keys, as DESIGN §4 says
 * (cosigner set, learner, one joint change), and takes voters out and in again. Tries until it has worked, whatever
 * goes wrong meanwhile.
 */
import { CipherlogError, errorCode } from '@cipherlog/core'
import { Operator } from '@cipherlog/client/operator'
import { roles } from '@cipherlog/format'
import { possessionOf } from '@cipherlog/registry'
import { type MembershipChange } from '@cipherlog/server/pipeline'
import { type Prng } from '../prng.ts'
import { memberOfKeys, type Blueprint } from './blueprint.ts'
import { type Counts } from './counts.ts'
import { type Scheduler } from './scheduler.ts'
import { type SimulatedReplica } from './simulated-replica.ts'
import { type SimulatedClient } from './workload.ts'

/** An answer that has not come by then will not come: its replica has ended. */
const answerMsMax = 25_000
const pauseMs = 300

export interface AdministratorWorld {
  readonly scheduler: Scheduler
  readonly counts: Counts
  readonly blueprint: Blueprint
  readonly prng: Prng
  readonly busy: () => boolean
  /** In service: neither lost nor replaced. */
  readonly living: () => readonly SimulatedReplica[]
  /** Who may be taken out and in again: its disk stays whole. */
  readonly movable: () => readonly SimulatedReplica[]
  /** Whose disk may be taken away: a minority. */
  readonly replaceable: () => SimulatedReplica | undefined
  /** Takes a replica out of service for ever, and starts another on an empty disk in its place. */
  readonly replace: (old: SimulatedReplica) => SimulatedReplica
}

export class Administrator {
  readonly #world: AdministratorWorld
  readonly #client: SimulatedClient

  constructor(world: AdministratorWorld, client: SimulatedClient) {
    this.#world = world
    this.#client = client
  }

  /** Until the workload ends; what was begun is finished. */
  async work(replacements: number, excursions: number): Promise<void> {
    const { busy, prng } = this.#world
    let [replaced, taken] = [0, 0]
    while (busy()) {
      await this.#client.sleep(500 + prng.float() * 2500)
      if (!busy()) return
      const old = this.#world.replaceable()
      if (replaced < replacements && old !== undefined) {
        replaced++
        await this.#replace(old)
      } else if (taken < excursions) {
        taken++
        await this.#takeOutAndIn()
      }
    }
  }

  async #replace(old: SimulatedReplica): Promise<void> {
    const { counts, blueprint, living, replace } = this.#world
    counts.add('disk wiped')
    const joiner = replace(old)
    const keys = [...living().map((replica) => replica.keys)]
    await this.#until('cosigner set changed', async () => {
      const operator = new Operator(await this.#client.log(), { signers: [blueprint.operator] })
      await operator.cosignerSet({
        members: keys.map(memberOfKeys),
        answerPossession: ({ cluster, index }) => possessionOf(keys[index]!.answer, roles.answer, cluster),
      })
    })
    const addresses = [{ peerId: joiner.id, peers: `${joiner.name}.simulation:7000`, api: joiner.address }]
    await this.#change('learner added', [{ type: 'addLearner', peer: joiner.id }], addresses, ({ learners, voters }) =>
      [...learners, ...voters].includes(joiner.id),
    )
    await this.#change(
      'replica replaced',
      [
        { type: 'remove', peer: old.id },
        { type: 'addVoter', peer: joiner.id },
      ],
      addresses,
      ({ voters }) => voters.includes(joiner.id) && !voters.includes(old.id),
    )
  }

  /** A voter leaves the group with its disk, and comes back. */
  async #takeOutAndIn(): Promise<void> {
    const { prng, movable } = this.#world
    const { id, name, address } = prng.pick(movable())
    const addresses = [{ peerId: id, peers: `${name}.simulation:7000`, api: address }]
    await this.#change('voter removed', [{ type: 'remove', peer: id }], [], ({ voters }) => !voters.includes(id))
    await this.#client.sleep(prng.float() * 1000)
    await this.#change('learner added', [{ type: 'addLearner', peer: id }], addresses, ({ learners, voters }) =>
      [...learners, ...voters].includes(id),
    )
    await this.#change('voter added', [{ type: 'addVoter', peer: id }], addresses, ({ voters }) => voters.includes(id))
  }

  async #change(
    what: string,
    changes: MembershipChange['changes'],
    addresses: MembershipChange['addresses'],
    isDone: (configuration: {
      readonly voters: readonly string[]
      readonly learners: readonly string[]
      readonly votersOutgoing: readonly string[]
    }) => boolean,
  ): Promise<void> {
    const { prng } = this.#world
    await this.#until(what, async () => {
      const member = this.#leader()
      if (member === undefined) throw new CipherlogError('ERR_UNAVAILABLE', 'Nobody leads.')
      const { configuration } = member.replicator.status()
      if (configuration.votersOutgoing.length === 0 && isDone(configuration)) return
      const transition = prng.pick(['auto', 'jointImplicit'] as const)
      await this.#ask(() => member.cluster.changeMembership({ transition, changes, addresses, force: false }))
    })
  }

  #leader() {
    return this.#world
      .living()
      .flatMap(({ running }) => (running === undefined ? [] : [running]))
      .find(({ process, member }) => !process.paused && member.replicator.leadingSince() !== undefined)?.member
  }

  /** What the replica that leads now answers; it may end before. */
  #ask<T>(ask: () => Promise<T>): Promise<T> {
    const { scheduler } = this.#world
    const leader = this.#world.living().find(({ running }) => running?.member === this.#leader())
    return new Promise<T>((resolve, reject) => {
      const timeout = scheduler.after(answerMsMax, this.#client.process, 'no answer', () =>
        reject(new CipherlogError('ERR_TIMEOUT', 'No answer came.')),
      )
      const settle = (act: () => void): void => {
        timeout.cancel()
        scheduler.after(1, this.#client.process, 'answer', act)
      }
      scheduler.as(leader?.process, () => {
        ask().then(
          (value) => settle(() => resolve(value)),
          (error: unknown) => settle(() => reject(error as Error)),
        )
      })
    })
  }

  /** Tries until it works; only refusals that faults explain are tried again. */
  async #until(what: string, attempt: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await attempt()
        this.#world.counts.add(what)
        return
      } catch (error) {
        const code = errorCode(error) ?? ''
        if (code.startsWith('ERR_MEMBERSHIP_') || code.startsWith('ERR_REGISTRY_')) {
          this.#world.counts.add(`administrator saw ${code}`)
        } else {
          this.#client.expected(error)
        }
        await this.#client.sleep(pauseMs)
      }
    }
  }
}
