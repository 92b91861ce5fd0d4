/** The status of a node as it stands in the API. */
import { create } from '@bufbuild/protobuf'
import { ConfigurationSchema, StatusResponseSchema, type StatusResponse } from '@cipherlog/api'
import { type NodePeerStatus, type NodeStatus } from '../node-api.ts'
import { type Configuration } from '../replicator.ts'

export function statusMessage(status: NodeStatus): StatusResponse {
  const { paused } = status
  return create(StatusResponseSchema, {
    origin: status.origin,
    cluster: status.cluster,
    group: status.group,
    generation: BigInt(status.generation),
    peerId: status.peerId,
    role: status.role,
    leaderId: status.leaderId ?? '',
    term: BigInt(status.term),
    commitIndex: BigInt(status.commitIndex),
    appliedIndex: BigInt(status.appliedIndex),
    treeSize: BigInt(status.treeSize),
    publishedSize: BigInt(status.publishedSize),
    registryNumber: BigInt(status.registryNumber),
    logTime: BigInt(status.logTime),
    peers: status.peers.map(peerMessage),
    mode: status.mode,
    trailFrom: BigInt(status.trailFrom),
    version: status.version,
    provingKeys: status.provingKeys,
    configuration: configurationMessage(status.configuration),
    membership: status.membership,
    compactedIndex: BigInt(status.compactedIndex),
    snapshotIndex: BigInt(status.snapshotIndex),
    damagedEntries: BigInt(status.damagedEntries),
    inDoubt: status.inDoubt,
    rulesVersion: status.rulesVersion,
    rulesVersionMax: status.rulesVersionMax,
    ...(paused === undefined
      ? {}
      : { paused: { index: BigInt(paused.index), kind: paused.kind, digest: paused.digest ?? '' } }),
  })
}

export function configurationMessage({ voters, learners, votersOutgoing, learnersNext, autoLeave }: Configuration) {
  return create(ConfigurationSchema, {
    voters: [...voters],
    learners: [...learners],
    votersOutgoing: [...votersOutgoing],
    learnersNext: [...learnersNext],
    autoLeave,
  })
}

function peerMessage(peer: NodePeerStatus) {
  const { matchIndex, nextIndex, trailFrom } = peer
  return {
    peerId: peer.peerId,
    apiAddress: peer.apiAddress,
    connected: peer.connected,
    learner: peer.learner,
    voter: peer.voter,
    peersAddress: peer.peersAddress,
    incarnation: peer.incarnation,
    state: peer.state ?? '',
    paused: peer.paused ?? false,
    inflight: peer.inflight ?? 0,
    pendingSnapshot: BigInt(peer.pendingSnapshot ?? 0),
    rulesVersionMax: peer.rulesVersionMax ?? 0,
    ...(matchIndex === undefined ? {} : { matchIndex: BigInt(matchIndex) }),
    ...(nextIndex === undefined ? {} : { nextIndex: BigInt(nextIndex) }),
    ...(trailFrom === undefined ? {} : { trailFrom: BigInt(trailFrom) }),
  }
}
