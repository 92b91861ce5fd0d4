/**
 * The API of a node whose replica changes: once a snapshot was installed, another one answers. A stream that was begun
 * before ends with an error, and its client goes on elsewhere or again.
 */
import { type NodeApi } from '../node-api.ts'
import { type GroupMember } from '../pipeline/group-member.ts'

export function nodeOf(member: Pick<GroupMember, 'replica'>): NodeApi {
  return {
    propose: (proposal) => member.replica.propose(proposal),
    status: () => member.replica.status(),
    keyEvents: (from, max) => member.replica.keyEvents(from, max),
    checkpoint: () => member.replica.checkpoint(),
    receipt: (leaf, waitMs, signal) => member.replica.receipt(leaf, waitMs, signal),
    leaf: (index) => member.replica.leaf(index),
    value: (query) => member.replica.value(query),
    cell: (query) => member.replica.cell(query),
    envelope: (id) => member.replica.envelope(id),
    session: (client) => member.replica.session(client),
    watch: (query, signal) => member.replica.watch(query, signal),
    trailFile: (path) => member.replica.trailFile(path),
    bodiesArePublic: () => member.replica.bodiesArePublic(),
    ready: () => member.replica.ready(),
  }
}
