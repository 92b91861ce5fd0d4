/** `cipherlog.toml`: how a person reaches a cluster, and as whom. It holds no secret. */
import { readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { CipherlogError, fromHex, toHex } from '@cipherlog/core'
import { parse, stringify, TomlError } from 'smol-toml'
import { z } from 'zod'
import { clusterFiles } from './layout.ts'

const path = z.string().min(1)
const schema = z.strictObject({
  name: z.string().min(1),
  endpoints: z
    .array(z.string().regex(/^https:\/\/[^\s/]+$/, 'an endpoint looks like https://host:port'))
    .min(1)
    .max(64),
  trust_policy: path,
  keyring: path,
  memory: path,
  client: z.string().regex(/^[0-9a-f]{32}$/, 'a client id has 32 lowercase hex digits'),
})

export interface Profile {
  /** The cluster directory; absolute, as are all paths here. */
  readonly directory: string
  /** Of the cluster, as in its origin. */
  readonly name: string
  /** `https://host:port` of each replica. */
  readonly endpoints: readonly string[]
  readonly trustPolicyFile: string
  readonly keyringFile: string
  readonly memoryFile: string
  /** 16 bytes. */
  readonly client: Uint8Array
}

/** @throws CipherlogError `ERR_DIRECTORY` if there is no cluster in `directory`, or its profile is wrong */
export async function readProfile(directory: string): Promise<Profile> {
  const file = join(directory, clusterFiles.profile)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const message = `There is no cluster in ${directory}; make one with \`cipherlog init\`, or name its folder with --dir.`
    throw new CipherlogError('ERR_DIRECTORY', message, { cause })
  }
  const { name, endpoints, client, ...paths } = parseProfile(file, text)
  return {
    directory: resolve(directory),
    name,
    endpoints,
    trustPolicyFile: resolve(directory, paths.trust_policy),
    keyringFile: resolve(directory, paths.keyring),
    memoryFile: resolve(directory, paths.memory),
    client: fromHex(client),
  }
}

function parseProfile(file: string, text: string): z.infer<typeof schema> {
  let toml: unknown
  try {
    toml = parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    throw new CipherlogError('ERR_DIRECTORY', `${file}:${cause.line}:${cause.column} is not valid TOML.`, { cause })
  }
  const parsed = schema.safeParse(toml)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  throw new CipherlogError('ERR_DIRECTORY', `${file}: ${issue.path.join('.') || 'the file'}: ${issue.message}.`)
}

/** The text of the profile; paths are written relative to its folder. */
export function formatProfile(profile: Profile): string {
  const inside = (file: string): string => relative(profile.directory, file)
  return stringify({
    name: profile.name,
    endpoints: [...profile.endpoints],
    trust_policy: inside(profile.trustPolicyFile),
    keyring: inside(profile.keyringFile),
    memory: inside(profile.memoryFile),
    client: toHex(profile.client),
  })
}
