/**
 * etcd's interaction environment (`rafttest.InteractionEnv`): a few replicas in memory, a queue of messages, and the
 * commands of its scenarios. A scenario decides what is delivered, dropped, written or applied, and when.
 *
 * Output is etcd's, except that there is no log of the replicas: lines that begin with DEBUG, INFO, WARN or ERROR are
 * never written.
 */
import {
  type ConfChange,
  confChangesFromString,
  type Config,
  describeEntries,
  describeMessage,
  describeProgress,
  describeReady,
  emptySnapshot,
  type Entry,
  EtcdError,
  type HardState,
  isEmptyHardState,
  isLocalMessageTarget,
  MemoryStorage,
  type Message,
  messageOf,
  type MessageType,
  messageTypes,
  RawNode,
  type Snapshot,
  unmarshalConfChange,
} from '@cipherlog/raft/etcd'
import { type Argument, type Command, type Directive, parseCommand } from './datadriven.ts'

export interface InteractionOptions {
  /** Changes a replica's configuration before it is made. */
  readonly onConfig?: (config: Config) => Config
}

/** A replica and its machine, which appends what it applies to a text. */
export interface InteractionNode {
  readonly raw: RawNode
  readonly config: Config
  readonly storage: MemoryStorage
  /** What the append thread has to do. */
  readonly appendWork: Message[]
  readonly applyWork: Message[]
  /** The machine's state after every entry; the last one is the snapshot it gives. */
  readonly history: Snapshot[]
}

interface Recipient {
  readonly id: number
  readonly drop: boolean
}

const levels = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const

/** etcd's texts of the errors that scenarios show. */
const errorTexts: Readonly<Record<string, string>> = {
  ERR_RAFT_PROPOSAL_DROPPED: 'raft proposal dropped',
  ERR_RAFT_LOCAL_MESSAGE: 'raft: cannot step raft local message',
  ERR_RAFT_PEER_NOT_FOUND: 'raft: cannot step as peer not found',
}

export class InteractionEnvironment {
  readonly nodes: InteractionNode[] = []
  /** In flight. */
  messages: Message[] = []
  readonly #options: InteractionOptions
  #output = ''
  #quiet = false

  constructor(options: InteractionOptions = {}) {
    this.#options = options
  }

  /** Runs one command of a scenario and returns what it says, `ok` if nothing. */
  handle(directive: Directive): string {
    this.#output = ''
    try {
      if (directive.name === 'propose-conf-change') {
        this.#proposeConfChange(directive, directive.input)
      } else {
        this.run(directive)
        for (const line of directive.input.split('\n').filter((line) => line.trim() !== '')) {
          this.#reportingErrors(() => {
            this.run(parseCommand(line))
          })
        }
      }
    } catch (error) {
      const text = textOf(error)
      if (this.#quiet) return text
      this.#output += text
    }
    return this.#output === '' ? 'ok' : this.#output
  }

  /** @throws {@link EtcdError} what a replica refuses. @throws {@link SyntaxError} an unknown command. */
  run(command: Command): void {
    const { name, args } = command
    switch (name) {
      case 'log-level':
        return this.#logLevel(args[0]?.key ?? '')
      case 'add-nodes':
        return this.#addNodes(args)
      case 'campaign':
        return this.#node(args).raw.campaign()
      case 'propose':
        return this.#node(args).raw.propose(new TextEncoder().encode(args[1]?.key ?? ''))
      case 'process-ready':
        return this.#forEach(args, 'handling Ready', (id) => {
          this.processReady(id)
        })
      case 'process-append-thread':
        return this.#forEach(args, 'processing append thread', (id) => {
          this.processAppendThread(id)
        })
      case 'process-apply-thread':
        return this.#forEach(args, 'processing apply thread', (id) => {
          this.processApplyThread(id)
        })
      case 'deliver-msgs':
        return this.#deliverCommand(args)
      case 'stabilize':
        return this.#stabilizeCommand(args)
      case 'tick-election':
        return this.#tick(args, ({ electionTick }) => electionTick)
      case 'tick-heartbeat':
        return this.#tick(args, ({ heartbeatTick }) => heartbeatTick)
      case 'tick':
        return this.#tick(args, () => numberOf(args[1]?.key))
      case 'set-randomized-election-timeout':
        return this.#node(args).raw.setRandomizedElectionTimeout(numberOf(valueOf(args, 'timeout')))
      case 'raft-log':
        return this.#raftLog(this.#node(args))
      case 'raft-state':
        return this.#raftState()
      case 'status':
        return this.#status(this.#node(args))
      case 'send-snapshot':
        return this.#sendSnapshot(args)
      case 'compact':
        return this.#compact(args)
      case 'report-unreachable':
        return this.#node(args).raw.reportUnreachable(numberOf(args[1]?.key))
      case 'transfer-leadership':
        return this.#nodeOf(numberOf(valueOf(args, 'from'))).raw.transferLeader(numberOf(valueOf(args, 'to')))
      case 'forget-leader':
        return this.#node(args).raw.forgetLeader()
      case '_breakpoint':
        return
      default:
        throw new SyntaxError('unknown command')
    }
  }

  /** Takes what replica `id` wants done: writes and applies it, or queues it for the two threads. */
  processReady(id: number): void {
    const node = this.#nodeOf(id)
    const ready = node.raw.ready()
    this.#say(describeReady(ready))
    const isAsynchronous = node.config.asyncStorageWrites === true
    if (!isAsynchronous) {
      write(node, ready.hardState, ready.entries, ready.snapshot)
      apply(node, ready.committedEntries)
    }
    for (const message of ready.messages) {
      if (message.type === 'MsgStorageAppend') node.appendWork.push(message)
      else if (message.type === 'MsgStorageApply') node.applyWork.push(message)
      else this.messages.push(message)
    }
    if (!isAsynchronous) node.raw.advance()
  }

  /** Does the oldest work of the append thread of replica `id`. */
  processAppendThread(id: number): void {
    const node = this.#nodeOf(id)
    const message = node.appendWork.shift()
    if (message === undefined) {
      this.#say('no append work to perform')
      return
    }
    this.#saySection('Processing:', [{ ...message, responses: [] }])
    const { term, vote, commit, entries, snapshot, responses } = message
    write(node, { term, vote, commit }, entries, snapshot)
    this.#saySection('Responses:', responses)
    this.messages.push(...responses)
  }

  /** Does the oldest work of the apply thread of replica `id`. */
  processApplyThread(id: number): void {
    const node = this.#nodeOf(id)
    const message = node.applyWork.shift()
    if (message === undefined) {
      this.#say('no apply work to perform')
      return
    }
    this.#saySection('Processing:', [{ ...message, responses: [] }])
    apply(node, message.entries)
    this.#saySection('Responses:', message.responses)
    this.messages.push(...message.responses)
  }

  /** Delivers, or drops, what is in flight to the recipients. Returns how many messages that were. */
  deliver(recipients: readonly Recipient[], type?: MessageType): number {
    let count = 0
    for (const { id, drop } of recipients) {
      // What a replica sends to itself does not get lost.
      const concerns = (message: Message): boolean =>
        message.to === id && !(drop && isLocal(message)) && (type === undefined || message.type === type)
      const concerned = this.messages.filter(concerns)
      this.messages = this.messages.filter((message) => !concerns(message))
      count += concerned.length
      for (const message of concerned) {
        this.#say(`${drop ? 'dropped: ' : ''}${describeMessage(message)}\n`)
        if (drop) continue
        this.#reportingErrors(() => {
          this.#nodeOf(id).raw.step(message)
        }, '\n')
      }
    }
    return count
  }

  /** Lets the replicas, all if none is named, work and talk among themselves until nothing is left to do. */
  stabilize(...ids: readonly number[]): void {
    const chosen = ids.length > 0 ? ids : this.nodes.map((_, at) => at + 1)
    const pass = (title: string, hasWork: (id: number) => boolean, work: (id: number) => void): boolean => {
      let any = false
      for (const id of chosen) {
        if (!hasWork(id)) continue
        any = true
        this.#say(`> ${id} ${title}\n`)
        this.#indented(() => {
          work(id)
        })
      }
      return any
    }
    for (let busy = true; busy;) {
      const passes = [
        pass(
          'handling Ready',
          (id) => this.#nodeOf(id).raw.hasReady(),
          (id) => {
            this.processReady(id)
          },
        ),
        pass(
          'receiving messages',
          (id) => this.messages.some(({ to }) => to === id),
          (id) => {
            this.deliver([{ id, drop: false }])
          },
        ),
        pass(
          'processing append thread',
          (id) => this.#nodeOf(id).appendWork.length > 0,
          (id) => {
            while (this.#nodeOf(id).appendWork.length > 0) this.processAppendThread(id)
          },
        ),
        pass(
          'processing apply thread',
          (id) => this.#nodeOf(id).applyWork.length > 0,
          (id) => {
            while (this.#nodeOf(id).applyWork.length > 0) this.processApplyThread(id)
          },
        ),
      ]
      busy = passes.includes(true)
    }
  }

  /** Makes `count` replicas that start from `snapshot`; index 0: from nothing. */
  addNodes(count: number, snapshot: Snapshot, template: Partial<Config>): void {
    for (let made = 0; made < count; made++) {
      const id = this.nodes.length + 1
      const history: Snapshot[] = [snapshot]
      const storage = new MachineStorage(history)
      if (snapshot.metadata.index > 0) storage.applySnapshot(snapshot)
      const config: Config = {
        ...{ id, storage, electionTick: 3, heartbeatTick: 1, maxInflightMsgs: 2 ** 31 - 1 },
        // The longest timeouts: a scenario that wants others says so.
        random: () => 0.999,
        ...template,
      }
      const changed = this.#options.onConfig?.(config) ?? config
      const raw = new RawNode(changed)
      this.nodes.push({ raw, config: changed, storage, appendWork: [], applyWork: [], history })
    }
  }

  #addNodes(args: readonly Argument[]): void {
    const ids = (key: string): number[] =>
      args.filter((arg) => arg.key === key).flatMap(({ values }) => values.map(Number))
    const flag = (key: string): boolean => valueOf(args, key) === 'true'
    const [voters, learners] = [ids('voters'), ids('learners')]
    const [index, inflight] = [valueOf(args, 'index'), valueOf(args, 'inflight')]
    const maxCommitted = valueOf(args, 'max-committed-size-per-ready')
    const readOnly = valueOf(args, 'read-only')
    const [electionTick, heartbeatTick] = [valueOf(args, 'election-tick'), valueOf(args, 'heartbeat-tick')]
    const bootstraps = voters.length + learners.length > 0 || index !== undefined
    if (bootstraps && numberOf(index ?? '0') <= 1) {
      throw new SyntaxError('index must be specified as > 1 due to bootstrap')
    }
    const confState = { voters, learners, votersOutgoing: [], learnersNext: [], autoLeave: false }
    const data = new TextEncoder().encode(valueOf(args, 'content') ?? '')
    const snapshot = bootstraps ? { data, metadata: { confState, index: numberOf(index), term: 1 } } : emptySnapshot
    this.addNodes(numberOf(args[0]?.key), snapshot, {
      asyncStorageWrites: flag('async-storage-writes'),
      preVote: flag('prevote'),
      checkQuorum: flag('checkquorum'),
      disableConfChangeValidation: flag('disable-conf-change-validation'),
      stepDownOnRemoval: flag('step-down-on-removal'),
      readOnlyOption: readOnly === 'lease-based' ? 'ReadOnlyLeaseBased' : 'ReadOnlySafe',
      ...(electionTick === undefined ? {} : { electionTick: numberOf(electionTick) }),
      ...(heartbeatTick === undefined ? {} : { heartbeatTick: numberOf(heartbeatTick) }),
      ...(inflight === undefined ? {} : { maxInflightMsgs: numberOf(inflight) }),
      ...(maxCommitted === undefined ? {} : { maxCommittedSizePerReady: numberOf(maxCommitted) }),
    })
  }

  #proposeConfChange({ args }: Command, input: string): void {
    const transitions: Readonly<Record<string, 'Auto' | 'JointImplicit' | 'JointExplicit'>> = {
      auto: 'Auto',
      implicit: 'JointImplicit',
      explicit: 'JointExplicit',
    }
    const transition = transitions[valueOf(args, 'transition') ?? 'auto']
    if (transition === undefined) throw new SyntaxError(`unknown transition ${valueOf(args, 'transition')}`)
    const changes = confChangesFromString(input)
    const { raw } = this.#node(args)
    if (valueOf(args, 'v1') === 'true') {
      const [single] = changes
      if (changes.length !== 1 || single === undefined || transition !== 'Auto') {
        throw new SyntaxError('v1 conf change can only have one operation and no transition')
      }
      return raw.proposeConfChange({ version: 1, ...single })
    }
    const change: ConfChange = { version: 2, transition: `ConfChangeTransition${transition}`, changes }
    raw.proposeConfChange(change)
  }

  #deliverCommand(args: readonly Argument[]): void {
    const type = valueOf(args, 'type')
    const known = messageTypes.find((candidate) => candidate === type)
    if (type !== undefined && known === undefined) throw new SyntaxError(`unknown message type ${type}`)
    const recipients = args.flatMap(({ key, values }): Recipient[] => {
      if (values.length === 0) return [{ id: numberOf(key), drop: false }]
      return key === 'drop' ? values.map((value) => ({ id: numberOf(value), drop: true })) : []
    })
    const ids = recipients.map(({ id }) => id)
    if (new Set(ids).size < ids.length) throw new SyntaxError("can't both deliver and drop msgs to one replica")
    if (this.deliver(recipients, known) === 0) this.#say('no messages\n')
  }

  #stabilizeCommand(args: readonly Argument[]): void {
    const level = valueOf(args, 'log-level')
    const before = this.#quiet
    if (level !== undefined) this.#logLevel(level)
    try {
      this.stabilize(...args.filter(({ values }) => values.length === 0).map(({ key }) => numberOf(key)))
    } finally {
      this.#quiet = before
    }
  }

  #logLevel(name: string): void {
    const level = levels.find((candidate) => candidate === name.toUpperCase())
    if (level === undefined) throw new SyntaxError(`log levels must be either of [${levels.join(' ')}]`)
    this.#quiet = level === 'NONE'
  }

  #tick(args: readonly Argument[], ticksOf: (config: Config) => number): void {
    const { raw, config } = this.#node(args)
    for (let ticks = ticksOf(config); ticks > 0; ticks--) raw.tick()
  }

  #raftLog({ storage }: InteractionNode): void {
    const [first, last] = [storage.firstIndex(), storage.lastIndex()]
    if (last < first) this.#say(`log is empty: first index=${first}, last index=${last}`)
    else this.#say(describeEntries(storage.entries(first, last + 1)))
  }

  #raftState(): void {
    for (const { raw } of this.nodes) {
      const { id, raftState, term, lead, config } = raw.status()
      const votes = config.voters.includes(id) || config.votersOutgoing.includes(id)
      this.#say(`${id}: ${raftState} ${votes ? '(Voter)' : '(Non-Voter)'} Term:${term} Lead:${lead}\n`)
    }
  }

  #status({ raw }: InteractionNode): void {
    for (const [id, progress] of raw.status().progress) this.#say(`${id}: ${describeProgress(progress)}\n`)
  }

  #sendSnapshot(args: readonly Argument[]): void {
    const [from, to] = [numberOf(args[0]?.key), numberOf(args[1]?.key)]
    const { raw, history } = this.#nodeOf(from)
    const { term } = raw.basicStatus()
    const message = messageOf({ type: 'MsgSnap', from, to, term, snapshot: history.at(-1)! })
    this.messages.push(message)
    this.#say(describeMessage(message))
  }

  #compact(args: readonly Argument[]): void {
    const node = this.#node(args)
    node.storage.compact(numberOf(args[1]?.key))
    this.#raftLog(node)
  }

  #forEach(args: readonly Argument[], title: string, work: (id: number) => void): void {
    const ids = args.filter(({ values }) => values.length === 0).map(({ key }) => numberOf(key))
    for (const id of ids) {
      if (ids.length === 1) return work(id)
      this.#say(`> ${id} ${title}\n`)
      this.#indented(() => {
        work(id)
      })
    }
  }

  #node(args: readonly Argument[]): InteractionNode {
    return this.#nodeOf(numberOf(args[0]?.key))
  }

  #nodeOf(id: number): InteractionNode {
    const node = this.nodes[id - 1]
    if (node === undefined) throw new SyntaxError(`there is no replica ${id}`)
    return node
  }

  #say(text: string): void {
    if (!this.#quiet) this.#output += text
  }

  #saySection(title: string, messages: readonly Message[]): void {
    this.#say(`${title}\n${messages.map((message) => `${describeMessage(message)}\n`).join('')}`)
  }

  #indented(work: () => void): void {
    const before = this.#output
    this.#output = ''
    try {
      work()
    } finally {
      const lines = this.#output.replace(/\n$/, '').split('\n')
      this.#output = this.#output === '' ? before : `${before}${lines.map((line) => `  ${line}\n`).join('')}`
    }
  }

  #reportingErrors(work: () => void, after = ''): void {
    try {
      work()
    } catch (error) {
      this.#say(`${textOf(error)}${after}`)
    }
  }
}

/** Gives the newest state of the machine as its snapshot. */
class MachineStorage extends MemoryStorage {
  readonly #history: readonly Snapshot[]

  constructor(history: readonly Snapshot[]) {
    super()
    this.#history = history
  }

  override initialState() {
    return { ...super.initialState(), confState: super.snapshot().metadata.confState }
  }

  override snapshot(): Snapshot {
    return this.#history.at(-1)!
  }
}

function write(
  { storage, history }: InteractionNode,
  hardState: HardState | undefined,
  entries: readonly Entry[],
  snapshot: Snapshot | undefined,
): void {
  if (hardState !== undefined && !isEmptyHardState(hardState)) storage.setHardState(hardState)
  if (snapshot === undefined) return storage.append(entries)
  storage.applySnapshot(snapshot)
  history.push(snapshot)
}

function apply({ raw, history }: InteractionNode, entries: readonly Entry[]): void {
  for (const { type, data, index, term } of entries) {
    const last = history.at(-1)!
    const change = type === 'EntryNormal' ? undefined : unmarshalConfChange(type === 'EntryConfChange' ? 1 : 2, data)
    const confState = change === undefined ? last.metadata.confState : raw.applyConfChange(change)
    const update = change === undefined ? data : (change.context ?? new Uint8Array(0))
    history.push({ data: Uint8Array.from([...last.data, ...update]), metadata: { confState, index, term } })
  }
}

function isLocal({ from, to }: Message): boolean {
  return from === to || isLocalMessageTarget(from) || isLocalMessageTarget(to)
}

function valueOf(args: readonly Argument[], key: string): string | undefined {
  return args.find((arg) => arg.key === key)?.values[0]
}

function numberOf(text: string | undefined): number {
  if (text === undefined || !/^\d{1,15}$/.test(text)) throw new SyntaxError(`${text ?? 'nothing'} is no number`)
  return Number(text)
}

/** Programming errors and broken invariants are not part of any scenario. */
function textOf(error: unknown): string {
  if (error instanceof EtcdError) return errorTexts[error.code] ?? error.message
  if (error instanceof SyntaxError) return error.message
  throw error
}
