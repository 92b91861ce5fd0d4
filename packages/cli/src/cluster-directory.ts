/**
 * A cluster on this machine, as `cipherlog init` lays it out:
 *
 *     cipherlog.toml        how to connect: endpoints, trust policy, keyring, client
 *     genesis.cbor          the signed genesis
 *     trust-policy.cbor     what clients and auditors believe
 *     me.keyring            operator, writer and reader keys, sealed with the passphrase
 *     nodes/1/node.toml, keys.cbor, data/, node.log
 *
 * Node directories hold no key of a person; a real deployment moves each to its own host.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, fromHex, toHex } from '@cipherlog/core'
import { type Circuit, type NodeKeys } from '@cipherlog/format'
import { cosignerMemberOf, generateNodeKeys, writeNodeKeys } from '@cipherlog/server'
import { parse, stringify } from 'smol-toml'
import { z } from 'zod'

const profileSchema = z.strictObject({
  name: z.string(),
  endpoints: z.array(z.url()).min(1),
  trust_policy: z.string(),
  keyring: z.string(),
  client: z.string().regex(/^[0-9a-f]{32}$/),
})

export interface Profile {
  readonly directory: string
  readonly name: string
  readonly endpoints: readonly string[]
  readonly trustPolicyFile: string
  readonly keyringFile: string
  readonly memoryFile: string
  /** 16 bytes. */
  readonly client: Uint8Array
}

/** @throws CipherlogError `ERR_DIRECTORY` if there is no cluster, or its profile is not one */
export async function readProfile(directory: string): Promise<Profile> {
  const file = join(directory, 'cipherlog.toml')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new CipherlogError('ERR_DIRECTORY', `There is no cluster in ${directory}; make one with \`cipherlog init\` or name its folder with --dir.`, { cause })
  }
  const parsed = profileSchema.safeParse(parse(text))
  if (!parsed.success) {
    throw new CipherlogError('ERR_DIRECTORY', `${file}: ${z.prettifyError(parsed.error)}`)
  }
  const { name, endpoints, trust_policy, keyring, client } = parsed.data
  return {
    directory,
    name,
    endpoints,
    trustPolicyFile: join(directory, trust_policy),
    keyringFile: join(directory, keyring),
    memoryFile: join(directory, 'memory.cbor'),
    client: fromHex(client),
  }
}

export interface NodePlan {
  readonly number: number
  readonly keys: NodeKeys
  readonly apiPort: number
  readonly peersPort: number
}

/** Keys for each node, before the genesis that lists them. */
export function planNodes(ports: readonly { readonly api: number; readonly peers: number }[]): NodePlan[] {
  return ports.map(({ api, peers }, i) => ({ number: i + 1, keys: generateNodeKeys(), apiPort: api, peersPort: peers }))
}

export const memberOf = (plan: NodePlan): ReturnType<typeof cosignerMemberOf> => cosignerMemberOf(plan.keys)

export interface NewCluster {
  readonly directory: string
  readonly name: string
  readonly nodes: readonly NodePlan[]
  readonly signedGenesis: Uint8Array
  readonly trustPolicy: Uint8Array
  readonly client: Uint8Array
}

/** Writes everything but the keyring. @throws CipherlogError `ERR_DIRECTORY` if the folder is not empty */
export async function writeCluster(cluster: NewCluster): Promise<void> {
  const { directory, nodes } = cluster
  await requireEmpty(directory)
  await writeFile(join(directory, 'genesis.cbor'), cluster.signedGenesis)
  await writeFile(join(directory, 'trust-policy.cbor'), cluster.trustPolicy)
  for (const node of nodes) {
    const folder = join(directory, 'nodes', String(node.number))
    await mkdir(folder, { recursive: true })
    await writeNodeKeys(join(folder, 'keys.cbor'), node.keys)
    await writeFile(join(folder, 'node.toml'), stringify(nodeConfig(node, nodes)))
  }
  const profile = {
    name: cluster.name,
    endpoints: nodes.map(({ apiPort }) => apiUrl(apiPort)),
    trust_policy: 'trust-policy.cbor',
    keyring: 'me.keyring',
    client: toHex(cluster.client),
  }
  await writeFile(join(directory, 'cipherlog.toml'), stringify(profile))
}

const apiUrl = (port: number): string => `https://127.0.0.1:${port}`

function nodeConfig(node: NodePlan, all: readonly NodePlan[]): Record<string, unknown> {
  return {
    data_dir: 'data',
    keys_file: 'keys.cbor',
    genesis_file: '../../genesis.cbor',
    listen: { api: `127.0.0.1:${node.apiPort}`, peers: `127.0.0.1:${node.peersPort}` },
    peers: all
      .filter((other) => other !== node)
      .map((other) => ({ id: toHex(other.keys.peerId), address: `127.0.0.1:${other.peersPort}`, api: apiUrl(other.apiPort) })),
  }
}

async function requireEmpty(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  if ((await readdir(directory)).length > 0) {
    throw new CipherlogError('ERR_DIRECTORY', `${directory} is not empty; choose another folder with --dir.`)
  }
}

export interface NodeFiles {
  readonly number: number
  readonly configFile: string
  readonly logFile: string
  readonly dataDirectory: string
}

/** The nodes of a cluster folder, by number. */
export async function listNodes(directory: string): Promise<NodeFiles[]> {
  const names = await readdir(join(directory, 'nodes'))
  return names
    .map(Number)
    .filter((number) => Number.isInteger(number))
    .sort((a, b) => a - b)
    .map((number) => {
      const folder = join(directory, 'nodes', String(number))
      return {
        number,
        configFile: join(folder, 'node.toml'),
        logFile: join(folder, 'node.log'),
        dataDirectory: join(folder, 'data'),
      }
    })
}

export type { Circuit }
