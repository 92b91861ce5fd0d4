/**
 * Configuration of a node: a TOML file, overridden by `CIPHERLOG_*` variables, overridden by flags; checked as a
 * whole, with the place of the wrong key in the error. Every key stands, explained, in
 * `packages/server/cipherlog-node.example.toml`.
 *
 * Only what one host may decide for itself is here. What decides verdicts (limits, quotas, rules) stands in the log.
 */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { type Command } from 'commander'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { logLevels } from './logging.ts'
import { nearest } from './nearest.ts'

/** A configuration that cannot be used (`ERR_CONFIG`); `details.path` is the key, `details.source` where it was set. */
export class ConfigError extends CipherlogError {
  override readonly name = 'ConfigError'
  constructor(source: string, path: string, problem: string, cause?: unknown) {
    super('ERR_CONFIG', `${source}: ${path === '' ? '' : `${path}: `}${problem}`, { cause, details: { path, source } })
  }
}

/** A TCP address. */
export interface Address {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
}

/** `host:port`, IPv6 in brackets; undefined if `text` is not that. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  return match === null || port > 65_535 ? undefined : { host: (match[1] ?? match[2])!, port }
}

export function formatAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

const address = z.string().transform((value, context) => {
  const parsed = parseAddress(value)
  if (parsed !== undefined) return parsed
  context.addIssue({ code: 'custom', message: `${JSON.stringify(value)} is not host:port, such as 127.0.0.1:7443` })
  return z.NEVER
})
const path = z.string().min(1)
const count = (min: number, max: number) => z.int().min(min).max(max)

const peer = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{32}$/, 'a peer id has 32 lowercase hex digits'),
    address,
    api: z.string().regex(/^https:\/\/[^\s/]+$/, 'the base URL of an API looks like https://host:port'),
    tls_key: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'a TLS key has 64 lowercase hex digits')
      .optional(),
  })
  .readonly()

const schema = z.strictObject({
  data_dir: path,
  keys_file: path,
  genesis_file: path,
  join: z.boolean().default(false),
  listen: z.strictObject({ api: address, peers: address }).readonly(),
  tls: z.strictObject({ cert_file: path, key_file: path }).readonly().optional(),
  peers: z
    .array(peer)
    .max(64)
    .refine((peers) => new Set(peers.map(({ id }) => id)).size === peers.length, 'a peer id stands there twice')
    .default([]),
  storage: z
    .strictObject({
      on_damage: z.enum(['truncateToLastGood', 'refuseStart', 'alertAndContinue']).default('truncateToLastGood'),
      log_entries_max: count(1, 1_000_000_000).default(100_000),
      log_bytes_max: count(1, 1_099_511_627_776).default(268_435_456),
      snapshot_bytes_per_second: count(65_536, 10_737_418_240).default(67_108_864),
      scrub_bytes_per_second: count(0, 10_737_418_240).default(1_048_576),
    })
    .readonly()
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(logLevels).default('info'), pretty: z.boolean().default(false) })
    .readonly()
    .prefault({}),
  tuning: z
    .strictObject({
      tick_ms: count(1, 10_000).default(100),
      heartbeat_ticks: count(1, 1000).default(1),
      election_ticks: count(2, 1000).default(10),
      priority: count(0, 1000).default(0),
      lease_ms: count(0, 60_000).default(0),
      idle_mark_ms: count(10, 60_000).default(1000),
      proof_threads: count(0, 64).default(1),
      unapplied_cost_ms_max: count(1, 60_000).default(200),
    })
    .refine((tuning) => tuning.election_ticks > tuning.heartbeat_ticks, {
      path: ['election_ticks'],
      message: 'must be above heartbeat_ticks, or every follower campaigns before it hears its leader',
    })
    .refine((tuning) => tuning.lease_ms < tuning.election_ticks * tuning.tick_ms * 0.9, {
      path: ['lease_ms'],
      message: 'must be below nine tenths of an election timeout, or a read may be stale when clocks drift',
    })
    .readonly()
    .prefault({}),
})

export interface NodeConfig {
  /** Absolute, as are all paths here. */
  readonly dataDir: string
  readonly keysFile: string
  readonly genesisFile: string
  /** This replica was not there at genesis: it waits until it is added. */
  readonly join: boolean
  readonly listen: { readonly api: Address; readonly peers: Address }
  /** PEM files for the API instead of the node's own certificates. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined
  readonly peers: readonly {
    /** Lowercase hex. */
    readonly id: string
    readonly address: Address
    /** Base URL. */
    readonly api: string
    /** Raw Ed25519 key in hex, for a replica that joins and whose genesis does not list this peer. */
    readonly tlsKey?: string | undefined
  }[]
  readonly storage: {
    /** What a start does about damage in the log that no second copy on this disk mends. */
    readonly onDamage: 'truncateToLastGood' | 'refuseStart' | 'alertAndContinue'
    /** Entries and payload bytes of the log kept for replicas that lag, beyond what a snapshot holds. */
    readonly logEntriesMax: number
    readonly logBytesMax: number
    /** Of a snapshot that is fetched. */
    readonly snapshotBytesPerSecond: number
    /** Of the log, reread so that damage is found while peers can mend it; 0: never. */
    readonly scrubBytesPerSecond: number
  }
  readonly log: { readonly level: (typeof logLevels)[number]; readonly pretty: boolean }
  readonly tuning: {
    readonly tickMs: number
    readonly heartbeatTicks: number
    readonly electionTicks: number
    /** Who should rather lead: higher is preferred. */
    readonly priority: number
    /** How long a leader may answer reads alone after a quorum has answered it; 0: it always asks. */
    readonly leaseMs: number
    readonly idleMarkMs: number
    /** 0: no proof is checked ahead in a worker. */
    readonly proofThreads: number
    readonly unappliedCostMsMax: number
  }
}

export interface ConfigKey {
  /** Place in the TOML file, such as `listen.api`. */
  readonly path: string
  readonly variable: string
  readonly flag: string
  /** Placeholder of the value in help texts. */
  readonly value: string
  readonly about: string
  readonly type: 'text' | 'path' | 'integer' | 'boolean' | 'json'
}

const key = (path: string, type: ConfigKey['type'], value: string, about: string): ConfigKey => ({
  path,
  variable: `CIPHERLOG_${path.replaceAll('.', '_').toUpperCase()}`,
  flag: `--${path.replaceAll(/[._]/g, '-')}`,
  value,
  about,
  type,
})

/** Every key that can be set from outside a file, and what it is for. */
export const configKeys: readonly ConfigKey[] = [
  key('data_dir', 'path', '<folder>', 'where the node keeps log, state and trail'),
  key('keys_file', 'path', '<file>', 'the keys of this replica, made by `cipherlog-node keygen`'),
  key('genesis_file', 'path', '<file>', 'the signed genesis of the cluster'),
  key('join', 'boolean', '<true|false>', 'this replica was not there at genesis: it waits until it is added'),
  key('listen.api', 'text', '<host:port>', 'where clients connect'),
  key('listen.peers', 'text', '<host:port>', 'where the other replicas connect'),
  key('tls.cert_file', 'path', '<file>', 'certificate chain of the API (PEM); its own if absent'),
  key('tls.key_file', 'path', '<file>', 'private key of that certificate (PEM)'),
  key('peers', 'json', '<json>', 'the other replicas: [{"id", "address", "api"}, …]'),
  key('storage.on_damage', 'text', '<policy>', 'truncateToLastGood, refuseStart or alertAndContinue'),
  key('storage.log_entries_max', 'integer', '<n>', 'entries of the log kept for replicas that lag'),
  key('storage.log_bytes_max', 'integer', '<bytes>', 'payload bytes of the log kept for replicas that lag'),
  key('storage.snapshot_bytes_per_second', 'integer', '<bytes>', 'how fast a snapshot is fetched, at most'),
  key('storage.scrub_bytes_per_second', 'integer', '<bytes>', 'how fast the log is reread to find damage; 0: never'),
  key('log.level', 'text', '<level>', `one of ${logLevels.join(', ')}`),
  key('log.pretty', 'boolean', '<true|false>', 'log text for people instead of JSON'),
  key('tuning.tick_ms', 'integer', '<ms>', 'length of a Raft tick'),
  key('tuning.heartbeat_ticks', 'integer', '<n>', 'ticks between heartbeats of a leader'),
  key('tuning.election_ticks', 'integer', '<n>', 'ticks without a leader before a follower campaigns'),
  key('tuning.priority', 'integer', '<n>', 'who should rather lead: higher is preferred'),
  key('tuning.lease_ms', 'integer', '<ms>', 'how long a leader may answer reads alone; 0: it always asks a quorum'),
  key('tuning.idle_mark_ms', 'integer', '<ms>', 'time after which new leaves are closed without a receipt'),
  key('tuning.proof_threads', 'integer', '<n>', 'worker threads that check proofs'),
  key(
    'tuning.unapplied_cost_ms_max',
    'integer',
    '<ms>',
    'work waiting to be applied above which proposals are refused',
  ),
]

const knownKeys = new Map(configKeys.map((entry) => [entry.path, entry]))

export interface ConfigSources {
  /** TOML file; paths in it are relative to its folder. */
  readonly file?: string | undefined
  /** Usually `process.env`; paths are relative to the working folder. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Values by the path of their key, as {@link addConfigFlags} gives them. */
  readonly flags: Readonly<Record<string, string>>
}

/**
 * Reads, merges and checks all sources.
 * @returns also warnings about `CIPHERLOG_*` variables that no node reads: other programs share the prefix.
 * @throws {@link ConfigError} `ERR_CONFIG`
 */
export async function loadConfig(sources: ConfigSources): Promise<{ config: NodeConfig; warnings: string[] }> {
  const { file, env, flags } = sources
  const fileValues = file === undefined ? {} : parseToml(file, await readConfigFile(file))
  const origin = new Map<string, string>()
  const merged = structuredClone(fileValues)
  if (file !== undefined) resolvePaths(merged, dirname(file))
  const set = (entry: ConfigKey, text: string, source: string): void => {
    assign(merged, entry, parseText(entry, text, source), source)
    origin.set(entry.path, source)
  }
  for (const entry of configKeys) {
    const text = env[entry.variable]
    if (text !== undefined) set(entry, text, entry.variable)
  }
  for (const [path, text] of Object.entries(flags)) {
    const entry = knownKeys.get(path)
    if (entry === undefined) throw new ConfigError('flags', path, unknownKey(path, [...knownKeys.keys()]))
    set(entry, text, entry.flag)
  }
  const result = schema.safeParse(merged)
  if (!result.success) throw asConfigError(result.error, origin, file)
  return { config: toNodeConfig(result.data), warnings: unknownVariables(env) }
}

/** Adds a flag for every key to `command`; the returned function collects those that were given. */
export function addConfigFlags(command: Command): () => Record<string, string> {
  for (const entry of configKeys) command.option(`${entry.flag} ${entry.value}`, entry.about)
  return () => {
    const given = command.opts<Record<string, string | undefined>>()
    const flags: Record<string, string> = {}
    for (const entry of configKeys) {
      const name = entry.flag.slice(2).replaceAll(/-(.)/g, (_match, letter: string) => letter.toUpperCase())
      if (given[name] !== undefined) flags[entry.path] = given[name]
    }
    return flags
  }
}

async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(file, '', 'cannot be read; check the path given with --config', cause)
  }
}

function parseToml(file: string, text: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    throw new ConfigError(`${file}:${cause.line}:${cause.column}`, '', 'is not valid TOML here', cause)
  }
}

/** Turns relative paths of the file into absolute ones; values of other types are left for the check. */
function resolvePaths(values: Record<string, unknown>, folder: string): void {
  for (const { type, path } of configKeys) {
    if (type !== 'path') continue
    const names = path.split('.')
    const last = names.pop()!
    const table = names.reduce<unknown>((at, name) => (isTable(at) ? at[name] : undefined), values)
    if (isTable(table) && typeof table[last] === 'string' && table[last] !== '') {
      table[last] = resolve(folder, table[last])
    }
  }
}

function parseText(entry: ConfigKey, text: string, source: string): unknown {
  switch (entry.type) {
    case 'text':
      return text
    case 'path':
      return text === '' ? '' : resolve(text)
    case 'integer':
      return /^\d{1,15}$/.test(text) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'json':
      try {
        return JSON.parse(text)
      } catch (cause) {
        throw new ConfigError(source, entry.path, 'is not valid JSON', cause)
      }
  }
}

function assign(values: Record<string, unknown>, entry: ConfigKey, value: unknown, source: string): void {
  const names = entry.path.split('.')
  const last = names.pop()!
  let table = values
  for (const name of names) {
    const inner = (table[name] ??= {})
    if (!isTable(inner)) throw new ConfigError(source, entry.path, `${name} is not a table in the file`)
    table = inner
  }
  table[last] = value
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function asConfigError(error: z.ZodError, origin: ReadonlyMap<string, string>, file: string | undefined): ConfigError {
  const issue = error.issues[0]!
  const place = issue.path.join('.')
  const inFile = file ?? 'configuration'
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]!].join('.')
    const prefix = place === '' ? '' : `${place}.`
    const siblings = /^peers\.\d+$/.test(place)
      ? Object.keys(peer.unwrap().shape).map((name) => prefix + name)
      : [...new Set([...knownKeys.keys()].flatMap(withTables))].filter((known) => known.startsWith(prefix))
    return new ConfigError(inFile, path, unknownKey(path, siblings), error)
  }
  const entry = knownKeys.get(place)
  const source = origin.get(place) ?? (place.startsWith('peers.') ? origin.get('peers') : undefined) ?? inFile
  if (issue.code === 'invalid_type' && issue.input === undefined && isMissing(error, place)) {
    const how =
      entry === undefined ? 'set it in the file' : `set it in the file, with ${entry.flag} or ${entry.variable}`
    return new ConfigError(source, place, `is missing; ${how}`, error)
  }
  return new ConfigError(source, place, issue.message, error)
}

/** Zod says "received undefined" for a missing key and leaves `input` out. */
const isMissing = (error: z.ZodError, place: string): boolean =>
  error.issues.some((issue) => issue.path.join('.') === place && issue.message.endsWith('received undefined'))

/** `a.b` → `a`, `a.b`. */
const withTables = (path: string): string[] =>
  path.split('.').map((_name, index, names) => names.slice(0, index + 1).join('.'))

function unknownKey(path: string, known: readonly string[]): string {
  const guess = nearest(path, known)
  return guess === undefined ? 'no such key; the example file lists all' : `no such key; did you mean ${guess}?`
}

function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = configKeys.map((entry) => entry.variable)
  return Object.keys(env)
    .filter((name) => name.startsWith('CIPHERLOG_') && !known.includes(name))
    .map((name) => {
      const guess = nearest(name, known)
      return `${name} is not read by a node${guess === undefined ? '' : `; did you mean ${guess}?`}`
    })
}

function toNodeConfig(data: z.infer<typeof schema>): NodeConfig {
  const { tuning } = data
  return {
    dataDir: data.data_dir,
    keysFile: data.keys_file,
    genesisFile: data.genesis_file,
    join: data.join,
    listen: data.listen,
    tls: data.tls === undefined ? undefined : { certFile: data.tls.cert_file, keyFile: data.tls.key_file },
    peers: data.peers.map(({ tls_key: tlsKey, ...rest }) => ({ ...rest, tlsKey })),
    storage: {
      onDamage: data.storage.on_damage,
      logEntriesMax: data.storage.log_entries_max,
      logBytesMax: data.storage.log_bytes_max,
      snapshotBytesPerSecond: data.storage.snapshot_bytes_per_second,
      scrubBytesPerSecond: data.storage.scrub_bytes_per_second,
    },
    log: data.log,
    tuning: {
      tickMs: tuning.tick_ms,
      heartbeatTicks: tuning.heartbeat_ticks,
      electionTicks: tuning.election_ticks,
      priority: tuning.priority,
      leaseMs: tuning.lease_ms,
      idleMarkMs: tuning.idle_mark_ms,
      proofThreads: tuning.proof_threads,
      unappliedCostMsMax: tuning.unapplied_cost_ms_max,
    },
  }
}
