/** The configuration with its defaults, and its ranges. */
import { isPeerId } from './membership.ts'
import { type RaftConfig } from './types.ts'

/** @throws {@link RangeError} if a field is out of range. */
export function completeConfig(config: RaftConfig): Required<RaftConfig> {
  const complete: Required<RaftConfig> = {
    ...config,
    priority: config.priority ?? 0,
    commitInRefusals: config.commitInRefusals ?? true,
    forwardProposals: config.forwardProposals ?? false,
    forwardReads: config.forwardReads ?? false,
    leaseMs: config.leaseMs ?? 0,
    quiesceTicks: config.quiesceTicks ?? 0,
    snapshotRetryTicks: config.snapshotRetryTicks ?? 0,
    confChangeOnApply: config.confChangeOnApply ?? false,
    stepDownOnRemoval: config.stepDownOnRemoval ?? true,
    confChangeGuard: config.confChangeGuard ?? true,
    confChangeValidation: config.confChangeValidation ?? true,
    caughtUpEntries: config.caughtUpEntries ?? 1000,
  }
  check(isPeerId(complete.id), 'a peer id is 32 lowercase hex digits')
  const { heartbeatTicks, electionTicks, checkQuorum, leaseMs } = complete
  for (const count of [heartbeatTicks, electionTicks, complete.maxInflightMessages]) {
    check(Number.isSafeInteger(count) && count >= 1, 'ticks and message limits are whole numbers from 1')
  }
  for (const bytes of [complete.maxInflightBytes, complete.maxAppendBytes, complete.maxUncommittedBytes]) {
    check(Number.isSafeInteger(bytes) && bytes >= 1, 'byte limits are whole numbers from 1')
  }
  const { diskStallTicks, maxClockErrorMs, initialTimeMs, quiesceTicks, snapshotRetryTicks, caughtUpEntries } = complete
  for (const value of [diskStallTicks, quiesceTicks, snapshotRetryTicks, caughtUpEntries]) {
    check(Number.isSafeInteger(value) && value >= 0, 'tick counts and caughtUpEntries are whole numbers from 0')
  }
  for (const value of [maxClockErrorMs, initialTimeMs, leaseMs]) {
    check(Number.isSafeInteger(value) && value >= 0, 'times are whole numbers of milliseconds from 0')
  }
  check(Number.isSafeInteger(complete.priority) && complete.priority >= 0, 'priority is a whole number from 0')
  check(electionTicks > heartbeatTicks, 'electionTicks must exceed heartbeatTicks')
  check(leaseMs === 0 || checkQuorum, 'leaseMs needs checkQuorum: without it nobody promises to refuse votes')
  check(
    complete.confChangeValidation || complete.confChangeOnApply,
    'without confChangeValidation only a host that applies changes itself (confChangeOnApply) can tell which are valid',
  )
  return complete
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new RangeError(`RaftConfig: ${what}`)
}
