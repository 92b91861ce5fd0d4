/**
 * Changes of membership in etcd's words: version 1 (one step) and version 2 (steps and a transition), their payload
 * bytes (protobuf, as etcd writes them), their short notation `v1 l2 r3 u4`, and their meaning for the core.
 */
import { type ConfChange as CoreConfChange, type PeerId } from '../membership.ts'
import { EtcdError } from './errors.ts'
import { toPeerId } from './ids.ts'

/** The order is that of the protobuf enum. */
export const confChangeTypes = [
  'ConfChangeAddNode',
  'ConfChangeRemoveNode',
  'ConfChangeUpdateNode',
  'ConfChangeAddLearnerNode',
] as const

export const confChangeTransitions = [
  'ConfChangeTransitionAuto',
  'ConfChangeTransitionJointImplicit',
  'ConfChangeTransitionJointExplicit',
] as const

export type ConfChangeType = (typeof confChangeTypes)[number]
export type ConfChangeTransition = (typeof confChangeTransitions)[number]

/** Node 0: no node, the step does nothing. */
export interface ConfChangeSingle {
  readonly type: ConfChangeType
  readonly nodeId: number
}

export interface ConfChangeV1 extends ConfChangeSingle {
  readonly version: 1
  readonly context?: Uint8Array
}

/** No changes and an automatic transition: leave the joint configuration. */
export interface ConfChangeV2 {
  readonly version: 2
  readonly transition: ConfChangeTransition
  readonly changes: readonly ConfChangeSingle[]
  readonly context?: Uint8Array
}

export type ConfChange = ConfChangeV1 | ConfChangeV2

export function asV2(change: ConfChange): ConfChangeV2 {
  if (change.version === 2) return change
  const { type, nodeId, context } = change
  const v2 = { version: 2, transition: 'ConfChangeTransitionAuto', changes: [{ type, nodeId }] } as const
  return context === undefined ? v2 : { ...v2, context }
}

/** Short notation: `v` adds a voter, `l` a learner, `r` removes, `u` updates. */
const letters: Readonly<Record<string, ConfChangeType>> = {
  v: 'ConfChangeAddNode',
  l: 'ConfChangeAddLearnerNode',
  r: 'ConfChangeRemoveNode',
  u: 'ConfChangeUpdateNode',
}

/** Reads `v1 l2 r3 u4`. @throws {@link EtcdError} `ERR_RAFT_CONF_CHANGE` */
export function confChangesFromString(text: string): ConfChangeSingle[] {
  const tokens = text.split(/\s+/).filter((token) => token !== '')
  return tokens.map((token) => {
    const [, letter, id] = /^([vlru])(\d{1,10})$/.exec(token) ?? []
    if (letter === undefined) throw malformed(`"${token}" is none of v1, l1, r1, u1`)
    return { type: letters[letter]!, nodeId: Number(id) }
  })
}

/** The inverse of {@link confChangesFromString}. */
export function confChangesToString(changes: readonly ConfChangeSingle[]): string {
  const letterOf = (type: ConfChangeType) => Object.keys(letters).find((letter) => letters[letter] === type)!
  return changes.map(({ type, nodeId }) => `${letterOf(type)}${nodeId}`).join(' ')
}

/** A replica that never exists: removing it changes nothing. */
const nobody: PeerId = 'f'.repeat(32)

/** What the core is told. Steps without effect (updates, node 0) stay steps: they count when joint is decided. */
export function toCoreChange(change: ConfChange): CoreConfChange {
  const { transition, changes } = asV2(change)
  const transitions = { Auto: 'auto', JointImplicit: 'jointImplicit', JointExplicit: 'jointExplicit' } as const
  return {
    transition: transitions[transition.slice('ConfChangeTransition'.length) as keyof typeof transitions],
    changes: changes.map(({ type, nodeId }) => {
      if (nodeId === 0 || type === 'ConfChangeUpdateNode') return { type: 'remove', peer: nobody }
      const peer = toPeerId(nodeId)
      if (type === 'ConfChangeRemoveNode') return { type: 'remove', peer }
      return { type: type === 'ConfChangeAddNode' ? 'addVoter' : 'addLearner', peer }
    }),
  }
}

/** The payload of an entry, as etcd's `Marshal` writes it. */
export function marshalConfChange(change: ConfChange): Uint8Array {
  const bytes: number[] = []
  if (change.version === 1) {
    writeField(bytes, 1, 0)
    writeField(bytes, 2, confChangeTypes.indexOf(change.type))
    writeField(bytes, 3, change.nodeId)
    if (change.context !== undefined) writeBytes(bytes, 4, change.context)
    return Uint8Array.from(bytes)
  }
  writeField(bytes, 1, confChangeTransitions.indexOf(change.transition))
  for (const { type, nodeId } of change.changes) {
    const single: number[] = []
    writeField(single, 1, confChangeTypes.indexOf(type))
    writeField(single, 2, nodeId)
    writeBytes(bytes, 2, single)
  }
  if (change.context !== undefined) writeBytes(bytes, 3, change.context)
  return Uint8Array.from(bytes)
}

/**
 * Reads a payload; none is the empty change, which leaves a joint configuration.
 * @throws {@link EtcdError} `ERR_RAFT_CONF_CHANGE`
 */
export function unmarshalConfChange(version: 1 | 2, data: Uint8Array): ConfChange {
  const fields = readFields(data)
  const number = (id: number): number => {
    const value = fields.findLast((field) => field.id === id)?.value ?? 0
    if (typeof value !== 'number') throw malformed(`field ${id} is no number`)
    return value
  }
  const contextOf = (id: number) => {
    const value = fields.findLast((field) => field.id === id)?.value
    return value instanceof Uint8Array ? { context: value } : {}
  }
  if (version === 1) return { version, type: oneOf(confChangeTypes, number(2)), nodeId: number(3), ...contextOf(4) }
  const changes = fields.flatMap(({ id, value }) => {
    if (id !== 2) return []
    if (!(value instanceof Uint8Array)) throw malformed('a step is no message')
    const step = readFields(value)
    const field = (wanted: number): number => {
      const found = step.findLast((candidate) => candidate.id === wanted)?.value ?? 0
      if (typeof found !== 'number') throw malformed(`field ${wanted} of a step is no number`)
      return found
    }
    return [{ type: oneOf(confChangeTypes, field(1)), nodeId: field(2) }]
  })
  return { version, transition: oneOf(confChangeTransitions, number(1)), changes, ...contextOf(3) }
}

function oneOf<T>(values: readonly T[], at: number): T {
  const value = values[at]
  if (value === undefined) throw malformed(`${at} is no known type or transition`)
  return value
}

function malformed(what: string): EtcdError {
  return new EtcdError('ERR_RAFT_CONF_CHANGE', `A change of membership cannot be read (${what}); propose it anew.`)
}

function writeVarint(bytes: number[], value: number): void {
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) + 0x80)
  bytes.push(value)
}

function writeField(bytes: number[], id: number, value: number): void {
  bytes.push(id << 3)
  writeVarint(bytes, value)
}

function writeBytes(bytes: number[], id: number, value: Iterable<number> & { readonly length: number }): void {
  bytes.push((id << 3) | 2)
  writeVarint(bytes, value.length)
  bytes.push(...value)
}

interface Field {
  readonly id: number
  readonly value: number | Uint8Array
}

function readFields(data: Uint8Array): Field[] {
  const fields: Field[] = []
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = data[at++]
      if (byte === undefined || scale > 2 ** 42) throw malformed('a number does not end')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (at < data.length) {
    const tag = varint()
    const id = Math.floor(tag / 8)
    if (tag % 8 === 0) {
      fields.push({ id, value: varint() })
    } else if (tag % 8 === 2) {
      const length = varint()
      if (length > data.length - at) throw malformed('a field is longer than the rest')
      fields.push({ id, value: data.slice(at, at + length) })
      at += length
    } else {
      throw malformed('a field has an unknown wire type')
    }
  }
  return fields
}
