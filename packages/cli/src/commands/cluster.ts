/** `cipherlog cluster`: who takes part, and how that is changed while it runs. */
import type { Cipherlog } from '@cipherlog/client'
import { CipherlogError, fromHex } from '@cipherlog/core'
import { type CosignerMember } from '@cipherlog/format'
import { type Command } from 'commander'
import { z } from 'zod'
import { integer } from '../arguments.ts'
import type { ClusterAdmin, ClusterStatus, PeerStatus } from '../cluster/admin.ts'
import type { NewMember, Progress } from '../cluster/change-members.ts'
import { nodeNumbered, type NodeFiles } from '../cluster/layout.ts'
import { type NodeAddress } from '../cluster/node-files.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { readText } from '../files.ts'
import { progressBar } from '../progress-bar.ts'
import { whateverThereIs, withGuest, withLog } from '../session.ts'
import { table } from '../table.ts'

/** A replica elsewhere: what `cipherlog-node member` printed there, and where it listens. */
interface RemoteOptions {
  readonly member?: string
  readonly peersAddress?: string
  readonly api?: string
}

export function addCluster(program: Command, io: Io): void {
  const cluster = program.command('cluster').description('who takes part, and how that is changed')

  cluster
    .command('status')
    .description('each replica: its part, its log, its disk')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const status = await asGuest(context, readStatus)
      context.output.result(status, formatClusterStatus(status))
    })

  remote(cluster.command('add'))
    .description('add a replica: made and started here, or one that is prepared elsewhere (--member)')
    .action(async (options: RemoteOptions, command: Command) => {
      const context = contextOf(command, io)
      const added = await change(context, async (log, admin, progress) => {
        const { addLocal, addRemote } = await import('../cluster/local-members.ts')
        const elsewhere = await readMember(options)
        if (elsewhere !== undefined) return addRemote(log, admin, elsewhere, progress)
        return addLocal(context.directory, log, admin, progress)
      })
      context.output.result(added, `${described(added)} takes part and votes.`)
    })

  remote(cluster.command('replace'))
    .description('replace a replica that lost its disk by its next incarnation, in one change')
    .argument('<replica>', 'number of the node here, or peer id of what is replaced')
    .action(async (replica: string, options: RemoteOptions, command: Command) => {
      const context = contextOf(command, io)
      const added = await change(context, async (log, admin, progress) => {
        const { replaceLocal, replaceRemote } = await import('../cluster/local-members.ts')
        const elsewhere = await readMember(options)
        if (elsewhere !== undefined)
          return replaceRemote(log, admin, await peerIdOf(context, replica), elsewhere, progress)
        return replaceLocal(await nodeOf(context, replica), context.directory, log, admin, progress)
      })
      context.output.result(added, `${described(added)} takes part and votes in the place of ${replica}.`)
    })

  cluster
    .command('remove')
    .description('end the part of a replica in the cluster, for ever')
    .argument('<replica>', 'number of the node here, or peer id')
    .option('--force', 'even if too few of the others have the whole trail')
    .action(async (replica: string, { force = false }: { force?: boolean }, command: Command) => {
      const context = contextOf(command, io)
      const peerId = await peerIdOf(context, replica)
      await change(context, async (log, admin, progress) => {
        const { removeReplica } = await import('../cluster/local-members.ts')
        await removeReplica(context.directory, log, admin, peerId, { force, progress })
      })
      context.output.result({ removed: peerId }, `${peerId} takes no part any more. Its files are still there.`)
    })

  cluster
    .command('transfer')
    .description('hand leadership to another replica, such as before the leader is stopped')
    .argument('[replica]', 'number of the node here, or peer id; default: the voter that is furthest')
    .action(async (replica: string | undefined, _options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const to = replica === undefined ? undefined : await peerIdOf(context, replica)
      const leaderId = await asGuest(context, (admin) => admin.transferLeadership(to))
      context.output.result({ leaderId }, `${leaderId} leads.`)
    })
}

function remote(command: Command): Command {
  return command
    .option('--member <file>', 'what `cipherlog-node member` printed where the replica will run')
    .option('--peers-address <host:port>', 'where it listens for the other replicas')
    .option('--api <url>', 'base URL of its API, such as https://10.0.0.4:7001')
}

/** With the keys of a node of this directory. @throws CipherlogError `ERR_DIRECTORY` if there is none */
async function withAdmin<T>(context: Context, log: Cipherlog, use: (admin: ClusterAdmin) => Promise<T>): Promise<T> {
  const { openAdmin } = await import('../cluster/local-members.ts')
  const admin = await openAdmin(context.directory, log)
  try {
    return await use(admin)
  } finally {
    admin.close()
  }
}

/** What needs no operator: looked at even without a quorum. */
function asGuest<T>(context: Context, use: (admin: ClusterAdmin) => Promise<T>): Promise<T> {
  return withGuest(context, (log) => withAdmin(context, log, use), whateverThereIs)
}

/** Changes need both: the operators' word on the log, and the leader. */
function change<T>(
  context: Context,
  use: (log: Cipherlog, admin: ClusterAdmin, progress: Progress) => Promise<T>,
): Promise<T> {
  return withLog(context, (log) => withAdmin(context, log, (admin) => use(log, admin, showProgress(context))))
}

const steps = {
  list: 'Listing the replica among the cosigners …',
  learn: 'Adding it as a learner …',
  'catch-up': 'It catches up',
  vote: 'Making it a voter …',
  unlist: 'Taking it from the list of cosigners …',
  leave: 'Ending its part …',
} as const

function showProgress({ output }: Context): Progress {
  const start = performance.now()
  return (step, done, total) =>
    output.progress(
      done === undefined || total === undefined
        ? steps[step]
        : `${steps[step]} ${progressBar(done, total, performance.now() - start)}`,
    )
}

function nodeOf({ directory }: Context, replica: string): Promise<NodeFiles> {
  return nodeNumbered(directory, integer(1, 99)(replica))
}

async function peerIdOf(context: Context, replica: string): Promise<string> {
  if (/^[0-9a-f]{32}$/.test(replica)) return replica
  const { peerIdOf: readPeerId } = await import('../cluster/node-files.ts')
  return readPeerId(await nodeOf(context, replica))
}

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `expected ${bytes} bytes as hex`)
const memberSchema = z.strictObject({
  peerId: hex(16),
  tlsKey: hex(32),
  logKey: hex(32),
  cosignerKey: hex(32),
  answerKey: hex(32),
  answerPossession: hex(64),
})

async function readMember(options: RemoteOptions): Promise<NewMember | undefined> {
  const { member: file, peersAddress, api } = options
  if (file === undefined) return undefined
  if (peersAddress === undefined || api === undefined) {
    throw new UsageError('--member needs --peers-address and --api: the others must know where the replica listens.')
  }
  const parsed = memberSchema.safeParse(parseJson(await readText(file), file))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new CipherlogError('ERR_FILE', `${file}: ${issue.path.join('.') || 'the file'}: ${issue.message}.`)
  }
  const { peerId, answerPossession, ...keys } = parsed.data
  const member: CosignerMember = {
    peerId: fromHex(peerId),
    tlsKey: fromHex(keys.tlsKey),
    logKey: fromHex(keys.logKey),
    cosignerKey: fromHex(keys.cosignerKey),
    answerKey: fromHex(keys.answerKey),
  }
  return { member, answerPossession: fromHex(answerPossession), address: { peerId, peers: peersAddress, api } }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CipherlogError('ERR_FILE', `${file} is not what \`cipherlog-node member\` prints.`, { cause })
  }
}

const described = ({ peerId, api }: NodeAddress): string => `Replica ${peerId} (${api})`

export interface ReplicaRow extends PeerStatus {
  /** What the replica says of itself; undefined: no answer. */
  readonly own: ClusterStatus | undefined
}

async function readStatus(admin: ClusterAdmin): Promise<{ leader: ClusterStatus; replicas: ReplicaRow[] }> {
  const leader = await admin.status()
  const members = leader.peers.filter(({ voter, learner }) => voter || learner)
  const replicas = await Promise.all(
    members.map(async (peer) => ({ ...peer, own: await ownStatus(admin, leader, peer) })),
  )
  return { leader, replicas }
}

/** Where a member was, another incarnation may listen by now. */
async function ownStatus(
  admin: ClusterAdmin,
  leader: ClusterStatus,
  { peerId, peers }: PeerStatus,
): Promise<ClusterStatus | undefined> {
  if (peerId === leader.peerId) return leader
  const own = peers === '' ? undefined : await admin.statusAt(peers)
  return own?.peerId === peerId ? own : undefined
}

export function formatClusterStatus({ leader, replicas }: { leader: ClusterStatus; replicas: ReplicaRow[] }): string {
  const { configuration, term, commitIndex } = leader
  const joint = configuration.votersOutgoing.length > 0 ? ', in a joint configuration' : ''
  const rows = replicas.map(({ own, ...peer }) => [
    peer.peerId,
    peer.api,
    peer.voter ? 'voter' : 'learner',
    own?.role ?? 'no answer',
    peer.peerId === leader.peerId ? '' : peer.state,
    String(peer.matchIndex ?? ''),
    own === undefined ? '' : String(own.appliedIndex),
    own === undefined ? '' : String(own.snapshotIndex),
    own === undefined ? '' : String(own.trailFrom),
    diskOf(own),
    own === undefined ? '' : `${own.version}, rules ${own.rulesVersionMax}`,
  ])
  return [
    `term ${term}, ${commitIndex} entries committed, ${configuration.voters.length} voters and ${configuration.learners.length} learners${joint}`,
    '',
    table(
      ['replica', 'api', 'part', 'role', 'state', 'match', 'applied', 'snapshot', 'trail from', 'disk', 'software'],
      rows,
    ),
  ].join('\n')
}

function diskOf(own: ClusterStatus | undefined): string {
  if (own === undefined) return ''
  if (own.inDoubt) return 'in doubt'
  return own.damagedEntries > 0 ? `${own.damagedEntries} damaged` : 'good'
}
