/**
 * Connections from clients to simulated replicas: the {@link Connection} that the SDK speaks through, over the
 * simulated network. Requests and answers can each be lost, late or come twice; errors cross as they cross HTTP.
 */
import { CipherlogError, emptyBytes, ProposalOutcomeUnknownError } from '@cipherlog/core'
import { fromErrorDetail, toErrorDetail } from '@cipherlog/api'
import { type Connection, type Dial } from '@cipherlog/client'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { type Scheduler, type SimulatedProcess } from './scheduler.ts'
import { type SimulatedNetwork } from './simulated-network.ts'
import { type SimulatedReplica } from './simulated-replica.ts'
import { type WireCheck } from './wire-check.ts'

/** A client gives up waiting for one answer after this time. */
const answerMsMax = 3_000
/** A connection to a host without a listener, or to one that ends, is noticed after this time. */
const resetMs = 5
const tileBytesMax = 8192

export interface LinkWorld {
  readonly scheduler: Scheduler
  readonly network: SimulatedNetwork
  readonly wire: WireCheck
  /** The replica behind an address. */
  readonly at: (address: string) => SimulatedReplica | undefined
}

type Answer<T> = { readonly value: T } | { readonly error: ReturnType<typeof toErrorDetail> }
type Api = NonNullable<SimulatedReplica['running']>['member']['replica']

/** Dials as the client `process`. */
export function simulatedDial({ scheduler, network, wire, at }: LinkWorld, process: SimulatedProcess): Dial {
  return (address) => {
    const replica = at(address)
    const call = <T>(
      method: string,
      sent: Uint8Array,
      ask: (api: Api) => T | Promise<T>,
      mayBeApplied = false,
    ): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        let done = false
        const settle = (act: () => void): void => {
          if (done) return
          done = true
          timeout.cancel()
          act()
        }
        const fail = (): void =>
          settle(() =>
            reject(
              mayBeApplied
                ? new ProposalOutcomeUnknownError()
                : new CipherlogError('ERR_UNAVAILABLE', 'No answer came; try another replica.'),
            ),
          )
        const timeout = scheduler.after(answerMsMax, process, 'no answer', fail)
        const server = replica?.process
        if (replica === undefined || server === undefined) {
          scheduler.after(resetMs, process, 'refused', () =>
            settle(() => reject(new CipherlogError('ERR_UNAVAILABLE', 'The replica cannot be reached.'))),
          )
          return
        }
        server.onEnd(() => {
          if (!done) scheduler.after(resetMs, process, 'reset', fail)
        })
        wire.see(sent, `request ${method} to ${replica.name}`)
        network.send(
          process.name,
          replica.name,
          method,
          () => replica.process,
          () => {
            void answer(replica, ask).then((answered) => {
              network.send(
                replica.name,
                process.name,
                `${method} answer`,
                () => process,
                () =>
                  settle(() => {
                    if ('value' in answered) resolve(answered.value)
                    else reject(fromErrorDetail(answered.error))
                  }),
              )
            })
          },
        )
      })
    const connection: Connection = {
      propose: (proposal) => call('propose', proposal.signed, (api) => api.propose(proposal), true),
      status: () =>
        call('status', emptyBytes, (api) => {
          const { peers, ...status } = api.status()
          return { ...status, peers: peers.map((peer) => ({ ...peer, matchIndex: peer.matchIndex })) }
        }),
      keyEvents: (from, max) => call('keyEvents', emptyBytes, async (api) => [...(await api.keyEvents(from, max))]),
      checkpoint: () => call('checkpoint', emptyBytes, (api) => api.checkpoint()),
      receipt: (leaf, waitMs) => call('receipt', emptyBytes, (api) => api.receipt(leaf, Math.min(waitMs, 2_000))),
      leaf: (leaf) => call('leaf', emptyBytes, (api) => api.leaf(leaf)),
      value: (query) => call('value', query.key, (api) => api.value(query)),
      cell: (query) => call('cell', query.key, (api) => api.cell(query)),
      envelope: (id) => call('envelope', id, (api) => api.envelope(id)),
      session: (client) => call('session', client, (api) => api.session(client)),
      async *watch(query, signal) {
        const leaves = replica?.running?.member.replica.watch(query, signal)
        if (leaves === undefined) throw new CipherlogError('ERR_UNAVAILABLE', 'The replica cannot be reached.')
        while (!signal.aborted) {
          const next = await call('watch', emptyBytes, () => leaves.next())
          if (next.done === true) return
          yield next.value
        }
      },
      tile: (path) =>
        call('tile', emptyBytes, async (api) => {
          const file = await api.trailFile(path)
          return file === undefined || file.size > tileBytesMax ? undefined : file.read(0, file.size)
        }),
      peerKey: replica === undefined ? undefined : publicKeyOf(replica.keys.tls),
      close: () => undefined,
    }
    return connection
  }
}

/** What a replica answers; a fault of its own crosses as such. */
async function answer<T>(replica: SimulatedReplica, ask: (api: Api) => T | Promise<T>): Promise<Answer<T>> {
  const running = replica.running
  try {
    if (running === undefined) throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is starting.')
    return { value: await ask(running.member.replica) }
  } catch (error) {
    return { error: toErrorDetail(error) }
  }
}
