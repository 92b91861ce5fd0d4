/**
 * Members of a cluster whose directory is here: their files are made, their processes started, and the profile learns
 * where to connect. For replicas elsewhere only the cluster changes.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cipherlog } from '@cipherlog/client'
import { CipherlogError, equalBytes, fromHex, toHex } from '@cipherlog/core'
import { cosignersMax, roles, type NodeKeys } from '@cipherlog/format'
import { possessionOf } from '@cipherlog/registry'
import { cosignerMemberOf, generateNodeKeys, loadConfig, readNodeKeys } from '@cipherlog/server'
import { ClusterAdmin } from './admin.ts'
import { bringIn, listCosigner, removeMember, type NewMember, type Progress } from './change-members.ts'
import { freePorts } from './free-ports.ts'
import { clusterFiles, listNodes, type NodeFiles } from './layout.ts'
import {
  apiUrl,
  peerIdOf,
  peersAddress,
  setAside,
  writeNodeFiles,
  type NodeAddress,
  type NodePlan,
} from './node-files.ts'
import { runningPid, stopRunning } from './pid-file.ts'
import { formatProfile, readProfile } from './profile.ts'
import { startNodes } from './run-nodes.ts'

interface LocalNode {
  readonly files: NodeFiles
  readonly keys: NodeKeys
  readonly address: NodeAddress
}

async function localNode(files: NodeFiles): Promise<LocalNode> {
  const keys = await readNodeKeys(files.keysFile)
  const { config } = await loadConfig({ file: files.configFile, env: {}, flags: {} })
  const { api, peers } = config.listen
  return {
    files,
    keys,
    address: { peerId: toHex(keys.peerId), peers: peersAddress(peers.port), api: apiUrl(api.port) },
  }
}

/**
 * Opens administration with the keys of the nodes in a cluster directory.
 * @param log - connected; it knows the keys of the replicas.
 * @throws CipherlogError `ERR_DIRECTORY` if there is no node.
 */
export async function openAdmin(directory: string, { view }: Cipherlog): Promise<ClusterAdmin> {
  const nodes = await Promise.all((await listNodes(directory)).map(localNode))
  const [first] = nodes
  if (first === undefined) {
    const message = `${directory} has no node, whose keys administration needs; run this where a replica is.`
    throw new CipherlogError('ERR_DIRECTORY', message)
  }
  return new ClusterAdmin({
    keys: first.keys,
    addresses: nodes.map(({ address }) => address.peers),
    accept: () => view.current.registry.cosignerSets.flatMap(({ set }) => set.members.map(({ tlsKey }) => tlsKey)),
  })
}

/** Makes a node, starts it and brings it in. Repeated after a failure, it goes on with the node that it made. */
export async function addLocal(
  directory: string,
  log: Cipherlog,
  admin: ClusterAdmin,
  progress: Progress,
): Promise<NodeAddress> {
  const nodes = await listNodes(directory)
  const { configuration } = await admin.status()
  const unfinished = (await Promise.all(nodes.map(localNode))).find(
    ({ address }) => !configuration.voters.includes(address.peerId),
  )
  if (unfinished !== undefined) return joinLocal(unfinished, directory, log, admin, progress)
  if (configuration.voters.length >= cosignersMax) {
    throw new CipherlogError('ERR_DIRECTORY', `A cluster has at most ${cosignersMax} replicas; remove one first.`)
  }
  const number = (nodes.at(-1)?.number ?? 0) + 1
  const files = await writeNew(directory, number, log, admin)
  return joinLocal(await localNode(files), directory, log, admin, progress)
}

/** Sets the lost incarnation of a node aside and brings the next one in, in its place. */
export async function replaceLocal(
  files: NodeFiles,
  directory: string,
  log: Cipherlog,
  admin: ClusterAdmin,
  progress: Progress,
): Promise<NodeAddress> {
  const lost = await localNode(files)
  const { configuration } = await admin.status()
  const members = [...configuration.voters, ...configuration.learners]
  const earlier = members.find((peerId) => isEarlier(peerId, lost.address.peerId))
  // Done before, up to here: the keys are those of the next incarnation already.
  if (earlier !== undefined) return joinLocal(lost, directory, log, admin, progress, earlier)
  await stopRunning(files)
  await setAside(files)
  const keys = generateNodeKeys(undefined, { replaces: lost.keys.peerId })
  const { api, peers } = (await loadConfig({ file: files.configFile, env: {}, flags: {} })).config.listen
  const next = await writeNodeFiles(directory, files.number, {
    keys,
    api: api.port,
    peers: peers.port,
    others: await othersOf(admin, log, lost.address.peerId),
    join: true,
  })
  return joinLocal(await localNode(next), directory, log, admin, progress, lost.address.peerId)
}

export async function addRemote(
  log: Cipherlog,
  admin: ClusterAdmin,
  added: NewMember,
  progress: Progress,
): Promise<NodeAddress> {
  await bringIn(log, admin, added, { start: () => Promise.resolve(), progress })
  return added.address
}

export async function replaceRemote(
  log: Cipherlog,
  admin: ClusterAdmin,
  instead: string,
  added: NewMember,
  progress: Progress,
): Promise<NodeAddress> {
  await bringIn(log, admin, added, { instead, start: () => Promise.resolve(), progress })
  return added.address
}

/** Ends the part of a replica; a process of this directory is stopped, its files stay. */
export async function removeReplica(
  directory: string,
  log: Cipherlog,
  admin: ClusterAdmin,
  peerId: string,
  { force, progress }: { readonly force: boolean; readonly progress: Progress },
): Promise<void> {
  const address = (await admin.status()).peers.find((peer) => peer.peerId === peerId)?.api
  // In this order, or for a while a checkpoint would need the signature of a replica that is gone.
  progress('unlist')
  await listCosigner(log, undefined, fromHex(peerId))
  progress('leave')
  await removeMember(admin, peerId, force)
  for (const files of await listNodes(directory)) {
    if ((await peerIdOf(files)) === peerId) await stopRunning(files)
  }
  if (address !== undefined) await changeEndpoints(directory, (endpoints) => endpoints.filter((url) => url !== address))
}

async function joinLocal(
  { files, keys, address }: LocalNode,
  directory: string,
  log: Cipherlog,
  admin: ClusterAdmin,
  progress: Progress,
  instead?: string,
): Promise<NodeAddress> {
  const added: NewMember = {
    member: cosignerMemberOf(keys),
    answerPossession: possessionOf(keys.answer, roles.answer, log.cluster),
    address,
  }
  await bringIn(log, admin, added, {
    ...(instead === undefined ? {} : { instead }),
    start: async () => {
      if ((await runningPid(files)) === undefined) await startNodes([files], { detached: true })
    },
    progress,
  })
  await changeEndpoints(directory, (endpoints) => [...new Set([...endpoints, address.api])])
  return address
}

async function writeNew(directory: string, number: number, log: Cipherlog, admin: ClusterAdmin): Promise<NodeFiles> {
  const keys = generateNodeKeys()
  const [api, peers] = await freePorts(2)
  return writeNodeFiles(directory, number, {
    keys,
    api: api!,
    peers: peers!,
    others: await othersOf(admin, log, toHex(keys.peerId)),
    join: true,
  })
}

/** Who is there already, with the keys by which a replica that knows only the genesis recognises them. */
async function othersOf(admin: ClusterAdmin, { view }: Cipherlog, self: string): Promise<NodePlan['others']> {
  const { peers } = await admin.status()
  const { registry } = await view.refresh()
  const listed = registry.cosignerSets.flatMap(({ set }) => set.members)
  return peers
    .filter((peer) => peer.peerId !== self && peer.peers !== '' && (peer.voter || peer.learner))
    .map(({ peerId, peers: address, api }) => {
      const member = listed.find((candidate) => toHex(candidate.peerId) === peerId)
      return { peerId, peers: address, api, ...(member === undefined ? {} : { tlsKey: toHex(member.tlsKey) }) }
    })
}

/** The same node, an incarnation before. */
function isEarlier(peerId: string, next: string): boolean {
  return peerId !== next && equalBytes(fromHex(peerId).subarray(0, 12), fromHex(next).subarray(0, 12))
}

async function changeEndpoints(
  directory: string,
  changed: (endpoints: readonly string[]) => readonly string[],
): Promise<void> {
  const profile = await readProfile(directory)
  const endpoints = changed(profile.endpoints)
  if (endpoints.length === 0 || endpoints.join() === profile.endpoints.join()) return
  await writeFile(join(directory, clusterFiles.profile), formatProfile({ ...profile, endpoints }))
}
