/**
 * etcd's one-line descriptions of messages, entries, states and progress, as its interaction tests print them.
 */
import { asV2, confChangesToString, unmarshalConfChange } from './conf-change.ts'
import {
  type ConfState,
  type Entry,
  type HardState,
  localAppendThread,
  localApplyThread,
  type Message,
  type Progress,
  type Ready,
  type Snapshot,
  type SoftState,
} from './types.ts'

export function describeEntry({ term, index, type, data }: Entry): string {
  const text =
    type === 'EntryNormal'
      ? JSON.stringify(new TextDecoder().decode(data))
      : confChangesToString(asV2(unmarshalConfChange(type === 'EntryConfChange' ? 1 : 2, data)).changes)
  return `${term}/${index} ${type}${text === '' ? '' : ` ${text}`}`
}

/** One entry a line. */
export function describeEntries(entries: readonly Entry[]): string {
  return entries.map((entry) => `${describeEntry(entry)}\n`).join('')
}

export function describeConfState(conf: ConfState): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = conf
  const list = (ids: readonly number[]): string => `[${ids.join(' ')}]`
  const incoming = `Voters:${list(voters)} VotersOutgoing:${list(votersOutgoing)}`
  return `${incoming} Learners:${list(learners)} LearnersNext:${list(learnersNext)} AutoLeave:${autoLeave}`
}

export function describeSnapshot({ metadata: { index, term, confState } }: Snapshot): string {
  return `Index:${index} Term:${term} ConfState:${describeConfState(confState)}`
}

export function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === 0 ? '' : ` Vote:${vote}`} Commit:${commit}`
}

export function describeSoftState({ lead, raftState }: SoftState): string {
  return `Lead:${lead} State:${raftState}`
}

/** Several lines where it carries several entries, a snapshot or responses. */
export function describeMessage(message: Message, indent = ''): string {
  const { from, to, type, term, logTerm, index, reject, rejectHint, commit, vote, entries, snapshot } = message
  const parts = [`${indent}${targetOf(from)}->${targetOf(to)} ${type} Term:${term} Log:${logTerm}/${index}`]
  if (reject) parts.push(` Rejected (Hint: ${rejectHint})`)
  if (commit !== 0) parts.push(` Commit:${commit}`)
  if (vote !== 0) parts.push(` Vote:${vote}`)
  if (entries.length === 1) parts.push(` Entries:[${describeEntry(entries[0]!)}]`)
  else if (entries.length > 1) {
    parts.push(' Entries:[', ...entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`), `\n${indent}]`)
  }
  if (snapshot !== undefined) parts.push(`\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`)
  if (message.responses.length > 0) {
    parts.push(' Responses:[')
    for (const response of message.responses) parts.push(`\n${describeMessage(response, `${indent}  `)}`)
    parts.push(`\n${indent}]`)
  }
  return parts.join('')
}

export function describeReady(ready: Ready): string {
  const { softState, hardState, readStates, entries, snapshot, committedEntries, messages, mustSync } = ready
  const parts: string[] = []
  if (softState !== undefined) parts.push(`${describeSoftState(softState)}\n`)
  if (hardState !== undefined) parts.push(`HardState ${describeHardState(hardState)}\n`)
  if (readStates.length > 0) {
    const states = readStates.map(({ index, requestCtx }) => `{${index} [${requestCtx.join(' ')}]}`)
    parts.push(`ReadStates [${states.join(' ')}]\n`)
  }
  if (entries.length > 0) parts.push('Entries:\n', describeEntries(entries))
  if (snapshot !== undefined) parts.push(`Snapshot ${describeSnapshot(snapshot)}\n`)
  if (committedEntries.length > 0) parts.push('CommittedEntries:\n', describeEntries(committedEntries))
  if (messages.length > 0) parts.push('Messages:\n', ...messages.map((message) => `${describeMessage(message)}\n`))
  return parts.length === 0 ? '<empty Ready>' : `Ready MustSync=${mustSync}:\n${parts.join('')}`
}

export function describeProgress(progress: Progress): string {
  const { state, match, next, isLearner, paused, pendingSnapshot, recentActive, inflight, inflightFull } = progress
  return [
    `${state} match=${match} next=${next}`,
    ...(isLearner ? [' learner'] : []),
    ...(paused ? [' paused'] : []),
    ...(pendingSnapshot > 0 ? [` pendingSnap=${pendingSnapshot}`] : []),
    ...(recentActive ? [] : [' inactive']),
    ...(inflight > 0 ? [` inflight=${inflight}${inflightFull ? '[full]' : ''}`] : []),
  ].join('')
}

function targetOf(id: number): string {
  if (id === 0) return 'None'
  if (id === localAppendThread) return 'AppendThread'
  return id === localApplyThread ? 'ApplyThread' : id.toString(16)
}
