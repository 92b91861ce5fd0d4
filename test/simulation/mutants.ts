/**
 * Known bugs of consensus and replication, most of which happened elsewhere, each as a change of our source that
 * switches it on. mutants.test.ts runs the simulators over every one of them: a simulator that does not notice a bug
 * we know would not notice one that we do not.
 *
 * Run one by hand: `CIPHERLOG_MUTANT=<name> node --import ./test/simulation/mutate.ts test/simulation/core.ts --seeds 50`.
 * When code moves, move its mutant: a patch that does not fit exactly once fails.
 */

export interface Patch {
  /** From the repository's root. */
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  /** What is wrong, as one would report it. */
  readonly about: string
  /** Where it happened, or the rule it breaks. */
  readonly source: string
  readonly patches: readonly Patch[]
  /** Which simulator must notice: the bare core's (core.ts) or the whole system's (run.ts). */
  readonly caughtBy: 'core' | 'system'
  /** It is noticed within so many seeds from 1. */
  readonly seeds: number
  /** What the checkers say, so that it is noticed for what it is. */
  readonly says: RegExp
}

const source = (name: string): string => `packages/raft/src/${name}.ts`
const raft = source('raft')
const election = source('election')
const following = source('following')
const replication = source('replication')
const writes = source('pending-writes')
const reads = source('read-only')

export const mutants: readonly Mutant[] = [
  {
    name: 'commit-old-term-by-counting',
    about: 'a leader commits an entry of an earlier term because a majority has it',
    source: 'Raft §3.6.2, fig. 3.7; CCF (NSDI 2025): commit advanced for a previous term',
    patches: [
      {
        file: replication,
        find: 'if (index <= core.commit || core.log.term(index) !== core.term) return false',
        replace: 'if (index <= core.commit) return false',
      },
    ],
    caughtBy: 'core',
    seeds: 100,
    says: /committed|majority/i,
  },
  {
    name: 'vote-not-persisted',
    about: 'the vote is not part of what is written to disk',
    source: 'Raft fig. 3.1: persistent state',
    patches: [
      {
        file: raft,
        find: '...(promiseChanged || hardState.commit !== this.#written.commit ? { hardState } : {}),',
        replace:
          '...(promiseChanged || hardState.commit !== this.#written.commit ? { hardState: { ...hardState, votedFor: undefined } } : {}),',
      },
    ],
    caughtBy: 'core',
    seeds: 5,
    says: /vote/i,
  },
  {
    name: 'vote-before-fsync',
    about: 'a vote leaves while it is still being written',
    source: 'Raft §3.8; etcd doc.go: persist, then send',
    patches: [
      {
        file: election,
        find: "else if (granted) out.hold({ type: 'voteResp', ...envelope })",
        replace: "else if (granted) out.send({ type: 'voteResp', ...envelope })",
      },
    ],
    caughtBy: 'core',
    seeds: 5,
    says: /vote left before it was durable/,
  },
  {
    name: 'lead-before-own-vote-is-durable',
    about: 'a candidate leads as soon as all others voted, while its own vote is still being written',
    source: 'found by the exploration of this repository, in asynchronous elections as etcd has them',
    patches: [
      {
        file: election,
        find: "else if (result === 'won' && this.#votes.get(this.#core.config.id) === true) this.#becomeLeader()",
        replace: "else if (result === 'won') this.#becomeLeader()",
      },
    ],
    caughtBy: 'core',
    seeds: 50,
    says: /leads before its own vote/,
  },
  {
    name: 'ack-before-fsync',
    about: 'an append is acknowledged while it is still being written',
    source: 'etcd#14370; Jepsen NATS 2.12.1',
    patches: [
      {
        file: following,
        find: "out.hold({ type: 'appendResp', from: id, to, term, accepted: true, index, hintIndex: 0, hintTerm: 0 })",
        replace:
          "out.send({ type: 'appendResp', from: id, to, term, accepted: true, index, hintIndex: 0, hintTerm: 0 })",
      },
    ],
    caughtBy: 'core',
    seeds: 5,
    says: /acknowledgement left before/,
  },
  {
    name: 'leader-counts-itself-before-fsync',
    about: 'a leader counts its own copy before it is on its disk',
    source: 'etcd#14370: a single node answered before its log was synced',
    patches: [
      {
        file: replication,
        find: 'id === this.#core.id ? this.#core.writes.durableIndex :',
        replace: 'id === this.#core.id ? this.#core.log.lastIndex :',
      },
    ],
    caughtBy: 'core',
    seeds: 60,
    says: /majority of disks/,
  },
  {
    name: 'truncate-by-early-append',
    about: 'a delayed append with fewer entries cuts off what a later one brought',
    source: 'Raft fig. 3.1, AppendEntries 3; CCF (NSDI 2025): truncation by an early append',
    patches: [
      {
        file: following,
        find: '    const lastNew = prevLogIndex + entries.length\n',
        replace:
          '    const lastNew = prevLogIndex + entries.length\n    if (conflict < 0 && lastNew < log.lastIndex && lastNew >= commit) this.#truncate(lastNew + 1)\n',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /committed|acknowledgement ran ahead/i,
  },
  {
    name: 'flush-ack-aba',
    about: 'the acknowledgement of an overwritten write counts for the entries that replaced it',
    source: 'etcd raft: async storage writes, the ABA race',
    patches: [
      {
        file: writes,
        find: 'for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index - 1)',
        replace: '',
      },
    ],
    caughtBy: 'core',
    seeds: 100,
    says: /disk|durable|beyond/,
  },
  {
    name: 'time-without-clamp',
    about: 'a leader stamps entries with its own clock, however wrong',
    source: 'DESIGN of log time: one clock at 2100 expires every key',
    patches: [
      {
        file: 'packages/raft/src/log-time.ts',
        find: 'return Math.max(own.lastStamp, clamped)',
        replace: 'return Math.max(own.lastStamp, own.clockMs + 0 * clamped)',
      },
    ],
    caughtBy: 'core',
    seeds: 100,
    says: /stamp runs ahead/,
  },
  {
    name: 'retried-read-index',
    about: 'the answer to an older question confirms a newer read',
    source: 'etcd-io/raft PR#397: a retried ReadIndex could be stale',
    patches: [
      {
        file: reads,
        find: 'if (this.#round !== undefined && context >= this.#round.number) this.#round.confirmedBy.add(peer)',
        replace: 'if (this.#round !== undefined) this.#round.confirmedBy.add(peer)',
      },
    ],
    caughtBy: 'core',
    seeds: 200,
    says: /read is stale/,
  },
  {
    name: 'read-before-own-term',
    about: 'a new leader answers reads before it has committed an entry of its term',
    source: 'Raft §6.4, step 1',
    patches: [
      {
        file: source('reads'),
        find: 'if (this.#readOnly.idle || !this.#hasCommitted || !this.#readOnly.begin(core.commit)) return',
        replace: 'if (this.#readOnly.idle || !this.#readOnly.begin(core.commit)) return',
      },
    ],
    caughtBy: 'core',
    seeds: 60,
    says: /read is stale/,
  },
  {
    name: 'commit-on-refused-append',
    about: 'a refused append counts as acknowledged up to where it was refused',
    source: 'CCF (NSDI 2025): commit advanced on a negative answer',
    patches: [
      {
        file: replication,
        find: '    if (!message.accepted) {\n',
        replace:
          '    if (!message.accepted) {\n      progress.acknowledged(Math.min(message.index, core.log.lastIndex), core.log.firstIndex)\n',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /majority of disks|beyond the log/,
  },
  {
    name: 'double-vote-after-step-down',
    about: 'stepping down within a term gives the vote back',
    source: 'CCF#5891',
    patches: [
      {
        file: election,
        find: 'if (term > core.term) core.votedFor = undefined',
        replace: 'core.votedFor = undefined',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /vote/i,
  },
  {
    name: 'leader-with-hung-disk',
    about: 'a leader whose disk hangs keeps its followers quiet',
    source: 'hashicorp/raft#503, etcd#15247',
    patches: [
      {
        file: replication,
        find: 'if (election.diskStalled) return election.becomeFollower(term, undefined)',
        replace: '',
      },
    ],
    caughtBy: 'core',
    seeds: 200,
    says: /disk hangs/,
  },
  {
    name: 'pre-vote-raises-term',
    about: 'a pre-vote request raises the term of those it asks, so a node that was away deposes the leader',
    source: 'Raft §9.6',
    patches: [
      {
        file: raft,
        find: "const keepsTerm = message.type === 'preVote' ||",
        replace: 'const keepsTerm =',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /pre-vote/i,
  },
  {
    name: 'vote-for-shorter-log',
    about: 'a voter does not compare the logs',
    source: 'Raft §3.6.1',
    patches: [
      {
        file: election,
        find: 'const granted = free && log.isUpToDate(message.lastLogIndex, message.lastLogTerm) &&',
        replace: 'const granted = free &&',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /committed/i,
  },
  {
    name: 'append-without-matching',
    about: 'a follower appends behind an entry of another term',
    source: 'Raft fig. 3.1, AppendEntries 2',
    patches: [
      {
        file: following,
        find: 'if (log.term(prevLogIndex) !== prevLogTerm) {',
        replace: 'if (log.term(prevLogIndex) === undefined) {',
      },
    ],
    caughtBy: 'core',
    seeds: 60,
    says: /Log Matching|Log time went back/,
  },
  {
    name: 'half-is-a-majority',
    about: 'half of an even number of voters counts as a majority',
    source: 'Raft §3.3; the quorum tests of every implementation',
    patches: [
      {
        file: 'packages/raft/src/quorum.ts',
        find: 'return Math.floor(count / 2) + 1',
        replace: 'return Math.ceil(count / 2)',
      },
    ],
    caughtBy: 'core',
    seeds: 20,
    says: /majority|Election Safety|skipped the pre-vote/,
  },
  {
    name: 'stale-configuration-after-snapshot',
    about: 'a follower that installs a snapshot keeps the configuration it had',
    source: 'openraft#1808: disjoint quorums, lost commits',
    patches: [
      {
        file: following,
        find: 'core.reconfiguration.restore(meta.confState, meta.index)',
        replace: 'core.reconfiguration.restore(core.reconfiguration.confState, meta.index)',
      },
    ],
    caughtBy: 'core',
    seeds: 200,
    says: /Membership/,
  },
  {
    name: 'learner-counted-in-quorum',
    about: 'the acknowledgement of a learner counts towards a majority of the voters',
    source: 'Raft §4.2.1',
    patches: [
      {
        file: replication,
        find: 'const index = jointCommittedIndex(core.reconfiguration.confState, this.#matchOf)',
        replace:
          'const { voters, learners, votersOutgoing } = core.reconfiguration.confState\n' +
          '    const index = jointCommittedIndex({ voters: [...voters, ...learners], votersOutgoing }, this.#matchOf)',
      },
    ],
    caughtBy: 'core',
    seeds: 200,
    says: /majority of disks|in time/,
  },
  {
    name: 'joint-change-asks-one-majority',
    about: 'a joint configuration commits with a majority of the new voters alone',
    source: 'Raft §4.3',
    patches: [
      {
        file: source('quorum'),
        find: 'return votersOutgoing.length === 0 ? incoming : Math.min(incoming, committedIndex(votersOutgoing, matchOf))',
        replace: 'return votersOutgoing.length === 0 ? incoming : incoming',
      },
    ],
    caughtBy: 'core',
    seeds: 200,
    says: /majority of disks/,
  },
  {
    name: 'change-takes-effect-before-it-is-durable',
    about: 'a replica uses a configuration that is committed but not on its own disk',
    source: 'Raft §4.1; a crash brings the old configuration back',
    patches: [
      {
        file: source('core'),
        find: 'return Math.min(this.commit, this.writes.durableIndex)',
        replace: 'return this.commit',
      },
    ],
    caughtBy: 'core',
    seeds: 60,
    says: /not on the disk|committed is so no longer|Membership|not those/,
  },
  {
    name: 'two-changes-under-way',
    about: 'a leader appends a change of membership while the one before is not in effect',
    source: 'Raft §4.1: the single-server bug of 2015; openraft#1802: commit without a quorum',
    patches: [
      {
        file: source('reconfiguration'),
        find: "if (this.#pendingIndex > this.#appliedIndex) return 'conf-pending'",
        replace: '',
      },
    ],
    caughtBy: 'core',
    seeds: 400,
    says: /Membership|cannot be applied|majority|Leader Completeness|State Machine Safety/,
  },
  {
    name: 'removed-leader-counts-itself',
    about: 'a leader that is no voter any more goes on and counts itself',
    source: 'Raft §4.2.2; etcd-io/raft#83',
    patches: [
      {
        file: source('reconfiguration'),
        find: 'if (core.config.stepDownOnRemoval) core.election.becomeFollower(core.term, undefined)\n      return',
        replace: '',
      },
      {
        file: replication,
        find: 'const index = jointCommittedIndex(core.reconfiguration.confState, this.#matchOf)',
        replace:
          'const { voters: named, votersOutgoing } = core.reconfiguration.confState\n' +
          '    const voters = named.includes(core.id) ? named : [...named, core.id]\n' +
          '    const index = jointCommittedIndex({ voters, votersOutgoing }, this.#matchOf)',
      },
    ],
    caughtBy: 'core',
    seeds: 400,
    says: /majority of disks/,
  },
  {
    name: 'vote-of-a-wiped-node',
    about: 'a node that lost its disk comes back under its old id',
    source: 'dragonboat#256; Raft §11: amnesia',
    patches: [
      {
        file: 'packages/testkit/src/raft-network.ts',
        find: 'node.incarnation++',
        replace: '',
      },
    ],
    caughtBy: 'core',
    seeds: 100,
    says: /Two votes|Two leaders|two leaders|Completeness|majority|committed|acknowledged|beyond the log|skipped/,
  },
  {
    name: 'lease-without-check-quorum',
    about: 'a leader reads by lease although nobody refuses votes for its sake',
    source: 'Raft §6.4.1; etcd: ReadOnlyLeaseBased needs CheckQuorum',
    patches: [{ file: election, find: 'if (!config.checkQuorum) return false\n', replace: 'return false\n' }],
    caughtBy: 'core',
    seeds: 500,
    says: /read is stale/,
  },
  {
    name: 'lease-survives-a-transfer',
    about: 'a leader that told another to campaign reads by lease on',
    source: 'Raft §3.10 and §6.4.1 together',
    patches: [{ file: source('leases'), find: ' || transfer.told ||', replace: ' || transfer.told === undefined ||' }],
    caughtBy: 'core',
    seeds: 400,
    says: /read is stale/,
  },
  {
    name: 'snapshot-ack-lost',
    about: 'a peer whose snapshot the leader never hears of again gets nothing any more',
    source: 'NuRaft#121, etcd#10308: stuck after a snapshot',
    patches: [
      {
        file: replication,
        find: 'if (config.snapshotRetryTicks > 0) this.#retrySnapshots()',
        replace: '',
      },
      {
        file: following,
        find: 'this.#install(meta)\n        return this.#accept(from, core.log.lastIndex)',
        replace: 'this.#install(meta)\n        return',
      },
    ],
    caughtBy: 'core',
    seeds: 400,
    says: /in time/,
  },
  {
    name: 'follower-answers-for-old-question',
    about: 'a follower takes the answer to an earlier question for a newer read',
    source: 'etcd-io/raft PR#397, forwarded',
    patches: [
      {
        file: source('reads'),
        find: 'const context = this.#asked.get(question)',
        replace: 'const context = this.#asked.get(question) ?? [...this.#asked.values()].at(-1)',
      },
    ],
    caughtBy: 'core',
    seeds: 400,
    says: /read is stale/,
  },
]

/** `text` with every patch made. @throws Error if one does not fit exactly once. */
export function applyPatches(text: string, patches: readonly Patch[]): string {
  return patches.reduce((patched, { file, find, replace }) => {
    const [before, after, ...more] = patched.split(find)
    if (before === undefined || after === undefined || more.length > 0) {
      throw new Error(`A mutant does not fit: ${JSON.stringify(find)} does not occur exactly once in ${file}`)
    }
    return before + replace + after
  }, text)
}
