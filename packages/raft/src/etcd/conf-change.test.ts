import { describe, expect, test } from 'vitest'
import { isConfChange, leaveJoint } from '../membership.ts'
import {
  asV2,
  type ConfChange,
  confChangesFromString,
  confChangesToString,
  marshalConfChange,
  toCoreChange,
  unmarshalConfChange,
} from './conf-change.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

const v1: ConfChange = { version: 1, type: 'ConfChangeRemoveNode', nodeId: 300 }
const v2: ConfChange = {
  version: 2,
  transition: 'ConfChangeTransitionJointExplicit',
  changes: confChangesFromString('v1 l2'),
  context: Uint8Array.of(7),
}

describe('confChangesFromString()', () => {
  test('reads what confChangesToString() writes', () => {
    expect(confChangesToString(confChangesFromString('v1 l2 r3  u4'))).toBe('v1 l2 r3 u4')
    expect(confChangesFromString('')).toEqual([])
  })

  test.each(['x1', 'v', 'v-1', 'v1,l2'])('refuses %s', (text) => {
    expect(() => confChangesFromString(text)).toThrow(expect.objectContaining({ code: 'ERR_RAFT_CONF_CHANGE' }))
  })
})

describe('marshalConfChange()', () => {
  test("writes etcd's protobuf: raftpb.ConfChange and raftpb.ConfChangeV2", () => {
    expect(hex(marshalConfChange(v1))).toBe('0800' + '1001' + '18ac02')
    expect(hex(marshalConfChange(v2))).toBe('0802' + '1204' + '08001001' + '1204' + '08031002' + '1a0107')
  })

  test('is undone by unmarshalConfChange()', () => {
    expect(unmarshalConfChange(1, marshalConfChange(v1))).toEqual(v1)
    expect(unmarshalConfChange(2, marshalConfChange(v2))).toEqual(v2)
  })
})

describe('unmarshalConfChange()', () => {
  test('reads no bytes as the change that leaves a joint configuration', () => {
    expect(toCoreChange(unmarshalConfChange(2, new Uint8Array(0)))).toEqual(leaveJoint)
  })

  test.each([
    ['a number that does not end', '08ff'],
    ['a number beyond 49 bits', '08ffffffffffffffff7f'],
    ['a field longer than the rest', '12051234'],
    ['an unknown wire type', '0d00000000'],
    ['an unknown transition', '0807'],
    ['a step that is a number', '1001'],
    ['a step of an unknown type', '12020809'],
  ])('refuses %s', (_, payload) => {
    const refused = expect.objectContaining({ code: 'ERR_RAFT_CONF_CHANGE' })
    expect(() => unmarshalConfChange(2, bytes(payload))).toThrow(refused)
  })
})

describe('toCoreChange()', () => {
  test('keeps steps without effect as steps, since they decide whether the change is joint', () => {
    const change = asV2({ version: 1, type: 'ConfChangeUpdateNode', nodeId: 4 })
    const core = toCoreChange(change)
    expect(core.changes).toEqual([{ type: 'remove', peer: 'f'.repeat(32) }])
    expect(isConfChange(core)).toBe(true)
  })
})
