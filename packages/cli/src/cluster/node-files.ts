/** The files of one node: made for a new cluster, for a node that joins one, and for one that lost its disk. */
import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { CipherlogError, readU32, toHex } from '@cipherlog/core'
import { type NodeKeys } from '@cipherlog/format'
import { readNodeKeys, writeNodeKeys } from '@cipherlog/server'
import { stringify } from 'smol-toml'
import { clusterFiles, nodeFiles, type NodeFiles } from './layout.ts'

/** Where a replica can be reached: `host:port` for the others, and the base URL of its API. */
export interface NodeAddress {
  readonly peerId: string
  readonly peers: string
  readonly api: string
}

export interface NodePlan {
  readonly keys: NodeKeys
  /** Ports on the loopback interface. */
  readonly api: number
  readonly peers: number
  /** The other replicas; with the TLS key, hex, of those that the genesis does not list. */
  readonly others: readonly (NodeAddress & { readonly tlsKey?: string })[]
  /** It is not in the first configuration of the cluster: it waits until a leader finds it. */
  readonly join: boolean
}

export const apiUrl = (port: number): string => `https://127.0.0.1:${port}`
export const peersAddress = (port: number): string => `127.0.0.1:${port}`

/** Writes keys and configuration; the directory may exist. @throws CipherlogError `ERR_KEYS_FILE` if there are keys. */
export async function writeNodeFiles(directory: string, number: number, plan: NodePlan): Promise<NodeFiles> {
  const files = nodeFiles(directory, number)
  await mkdir(files.directory, { recursive: true })
  await writeNodeKeys(files.keysFile, plan.keys)
  const config = {
    data_dir: 'data',
    keys_file: basename(files.keysFile),
    genesis_file: `../../${clusterFiles.genesis}`,
    ...(plan.join ? { join: true } : {}),
    listen: { api: `127.0.0.1:${plan.api}`, peers: peersAddress(plan.peers) },
    peers: plan.others.map(({ peerId, peers, api, tlsKey }) => ({
      id: peerId,
      address: peers,
      api,
      ...(tlsKey === undefined ? {} : { tls_key: tlsKey }),
    })),
  }
  await writeFile(files.configFile, stringify(config))
  return files
}

/**
 * Sets data and keys of a node aside, under the number of their incarnation: they are evidence, and never used again.
 * @returns the names that they have now.
 */
export async function setAside(files: NodeFiles): Promise<string[]> {
  const incarnation = readU32((await readNodeKeys(files.keysFile)).peerId, 12)
  const names = [basename(files.keysFile), 'data', basename(files.logFile)]
  const moved: string[] = []
  for (const name of names) {
    const to = `${name}.${incarnation}`
    if (await exists(join(files.directory, to))) {
      throw new CipherlogError('ERR_DIRECTORY', `${join(files.directory, to)} exists; move it away first.`)
    }
    if (!(await exists(join(files.directory, name)))) continue
    await rename(join(files.directory, name), join(files.directory, to))
    moved.push(to)
  }
  return moved
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/** Peer id of the node, in hex. */
export async function peerIdOf(files: NodeFiles): Promise<string> {
  return toHex((await readNodeKeys(files.keysFile)).peerId)
}
