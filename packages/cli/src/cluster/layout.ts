/**
 * A cluster on this machine, as `cipherlog init` lays it out:
 *
 *     cipherlog.toml        how to connect: endpoints, trust policy, keyring, client
 *     genesis.cbor          the signed genesis
 *     trust-policy.cbor     what clients and auditors believe beforehand
 *     me.keyring            operator, writer and reader keys, sealed with the passphrase
 *     me.memory             what this client has seen, so that nobody can show it an older log
 *     nodes/<n>/            node.toml, node.keys, data/, node.log, node.pid
 *
 * A node's directory holds no key of a person, so a real deployment moves each to a host of its own.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError } from '@cipherlog/core'

export const clusterFiles = {
  profile: 'cipherlog.toml',
  genesis: 'genesis.cbor',
  trustPolicy: 'trust-policy.cbor',
  keyring: 'me.keyring',
  memory: 'me.memory',
} as const

export interface NodeFiles {
  /** From 1. */
  readonly number: number
  readonly directory: string
  readonly configFile: string
  readonly keysFile: string
  /** Everything that its processes printed, oldest first. */
  readonly logFile: string
  /** There while a process was left running. */
  readonly pidFile: string
  readonly dataDirectory: string
  readonly trailDirectory: string
}

export function nodeFiles(clusterDirectory: string, number: number): NodeFiles {
  const directory = join(clusterDirectory, 'nodes', String(number))
  return {
    number,
    directory,
    configFile: join(directory, 'node.toml'),
    keysFile: join(directory, 'node.keys'),
    logFile: join(directory, 'node.log'),
    pidFile: join(directory, 'node.pid'),
    dataDirectory: join(directory, 'data'),
    trailDirectory: join(directory, 'data', 'trail'),
  }
}

/** The nodes of a cluster directory, by number; none if all were moved away. */
export async function listNodes(clusterDirectory: string): Promise<NodeFiles[]> {
  let names: string[]
  try {
    names = await readdir(join(clusterDirectory, 'nodes'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return names
    .filter((name) => /^[1-9]\d?$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
    .map((number) => nodeFiles(clusterDirectory, number))
}

/** @throws CipherlogError `ERR_DIRECTORY` if there is no such node. */
export async function nodeNumbered(clusterDirectory: string, number: number): Promise<NodeFiles> {
  const node = (await listNodes(clusterDirectory)).find((candidate) => candidate.number === number)
  if (node !== undefined) return node
  throw new CipherlogError('ERR_DIRECTORY', `There is no node ${number} in ${clusterDirectory}/nodes; look there.`)
}
