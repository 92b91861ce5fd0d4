/**
 * Makes a cluster in a directory: keys of the replicas, an operator, a first client and reader, the genesis that
 * lists them and the trust policy that pins it. Nothing runs yet.
 */
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { createKeyringFile } from '@cipherlog/client'
import { createGenesis, readerOf } from '@cipherlog/client/operator'
import { CipherlogError, systemRandom, toHex, type Random } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import { cosignersMax, type modes, roles, type Circuit } from '@cipherlog/format'
import { encodeTrustPolicy, possessionOf } from '@cipherlog/registry'
import { cosignerMemberOf, generateNodeKeys } from '@cipherlog/server'
import { bundledCircuits, isDevelopment } from './circuits.ts'
import { freePorts, requireFree } from './free-ports.ts'
import { clusterFiles } from './layout.ts'
import { apiUrl, peersAddress, writeNodeFiles } from './node-files.ts'
import { formatProfile, readProfile, type Profile } from './profile.ts'

export interface NewCluster {
  /** `[a-z0-9.-]+(/[a-z0-9.-]+)*`, at most 128 bytes: public, and for ever. */
  readonly name: string
  /** Replicas, 1 to 7. */
  readonly nodes: number
  /** APIs listen on this port and those after it, replicas among themselves 100 above; default: any free ports. */
  readonly basePort?: number
  /** Opens the keyring. */
  readonly passphrase: string
  /** Default `development`. `production` takes no circuits of a development ceremony, so no counters. */
  readonly mode?: keyof typeof modes
  readonly random?: Random
}

/** From the ports of APIs to those among replicas. */
const peerPortOffset = 100

/**
 * Makes a cluster.
 * @param directory - new or empty.
 * @throws CipherlogError `ERR_DIRECTORY` if it is not empty, `ERR_LISTEN_ADDRESS_IN_USE`; as `createGenesis`.
 */
export async function createCluster(directory: string, options: NewCluster): Promise<Profile> {
  const { name, nodes, passphrase, mode = 'development', random = systemRandom } = options
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > cosignersMax) {
    throw new RangeError(`a cluster has 1 to ${cosignersMax} replicas, not ${nodes}`)
  }
  await requireEmpty(directory)
  const ports = await choosePorts(nodes, options.basePort)
  // Made beside and moved into place, so that there is a whole cluster or none.
  await mkdir(dirname(resolve(directory)), { recursive: true })
  const draft = await mkdtemp(join(dirname(resolve(directory)), `.${basename(directory)}-`))
  try {
    const plans = ports.map((port, i) => ({ number: i + 1, keys: generateNodeKeys(random), ...port }))
    const operator = generateSigningKey(random)
    const genesis = await createGenesis({
      name,
      mode,
      members: plans.map(({ keys }) => cosignerMemberOf(keys)),
      answerPossession: ({ cluster, index }) => possessionOf(plans[index]!.keys.answer, roles.answer, cluster),
      operators: { threshold: 1, secretKeys: [operator.secretKey] },
      circuits: await circuitsFor(mode),
    })
    const { cluster } = genesis
    const client = random.bytes(16)
    const keyring = await createKeyringFile(join(draft, clusterFiles.keyring), { passphrase, label: 'me', random })
    keyring.add({ type: 'operator', cluster, index: 0, secretKey: operator.secretKey })
    keyring.add({ type: 'client', cluster, client, secretKey: generateSigningKey(random).secretKey })
    keyring.addNameKey(cluster, random)
    readerOf(keyring, cluster, random)
    await keyring.save()
    await writeFile(join(draft, clusterFiles.genesis), genesis.signedGenesis)
    await writeFile(join(draft, clusterFiles.trustPolicy), encodeTrustPolicy(genesis.trustPolicy))
    for (const plan of plans) {
      const others = plans
        .filter((other) => other !== plan)
        .map(({ keys, api, peers }) => ({ peerId: toHex(keys.peerId), peers: peersAddress(peers), api: apiUrl(api) }))
      await writeNodeFiles(draft, plan.number, { ...plan, others, join: false })
    }
    const profile = formatProfile({
      directory: draft,
      name,
      endpoints: plans.map(({ api }) => apiUrl(api)),
      trustPolicyFile: join(draft, clusterFiles.trustPolicy),
      keyringFile: join(draft, clusterFiles.keyring),
      memoryFile: join(draft, clusterFiles.memory),
      client,
    })
    await writeFile(join(draft, clusterFiles.profile), profile)
    await rename(draft, directory)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
  return readProfile(directory)
}

async function choosePorts(nodes: number, basePort: number | undefined): Promise<{ api: number; peers: number }[]> {
  const count = Array.from({ length: nodes }, (_, i) => i)
  if (basePort === undefined) {
    const ports = await freePorts(2 * nodes)
    return count.map((i) => ({ api: ports[i]!, peers: ports[nodes + i]! }))
  }
  const chosen = count.map((i) => ({ api: basePort + i, peers: basePort + peerPortOffset + i }))
  await requireFree(chosen.flatMap(({ api, peers }) => [api, peers]))
  return chosen
}

async function circuitsFor(mode: keyof typeof modes): Promise<Circuit[]> {
  const circuits = await bundledCircuits()
  return mode === 'production' ? circuits.filter((circuit) => !isDevelopment(circuit)) : circuits
}

async function requireEmpty(directory: string): Promise<void> {
  let names: string[]
  try {
    names = await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (names.length > 0) {
    throw new CipherlogError('ERR_DIRECTORY', `${directory} is not empty; choose another folder with --dir.`)
  }
}
