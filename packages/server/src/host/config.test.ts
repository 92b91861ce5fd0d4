import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addConfigFlags, ConfigError, configKeys, loadConfig, parseAddress } from './config.ts'

const example = resolve(import.meta.dirname, '../../cipherlog-node.example.toml')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-config-'))
})
afterAll(() => rm(folder, { recursive: true }))

const minimal = `
data_dir = "d"
keys_file = "k"
genesis_file = "/g"
listen = { api = "127.0.0.1:0", peers = "[::1]:7444" }
`

async function load(toml: string, env: Record<string, string> = {}, flags: Record<string, string> = {}) {
  const file = join(folder, 'node.toml')
  await writeFile(file, toml)
  return loadConfig({ file, env, flags })
}

async function failure(toml: string, env: Record<string, string> = {}, flags: Record<string, string> = {}) {
  const error: unknown = await load(toml, env, flags).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ConfigError)
  expect((error as ConfigError).code).toBe('ERR_CONFIG')
  return error as ConfigError
}

describe('loadConfig()', () => {
  it('accepts the example file, which shows every key with its default', async () => {
    const { config, warnings } = await loadConfig({ file: example, env: {}, flags: {} })
    expect(config.peers).toHaveLength(2)
    expect(config.peers[0]!.address).toEqual({ host: '10.0.0.2', port: 7444 })
    expect(warnings).toEqual([])
    const { config: defaults } = await load(minimal)
    expect({ log: config.log, tuning: config.tuning }).toEqual({ log: defaults.log, tuning: defaults.tuning })
    const text = await readFile(example, 'utf8')
    for (const { path } of configKeys) {
      expect(text, path).toMatch(new RegExp(`^(# )?(\\[\\[)?${path.split('.').at(-1)}(\\]\\]| =)`, 'm'))
    }
  })

  it('lets variables override the file and flags override variables', async () => {
    const env = { CIPHERLOG_LOG_LEVEL: 'warn', CIPHERLOG_LISTEN_API: '0.0.0.0:1', CIPHERLOG_LOG_PRETTY: 'true' }
    const { config } = await load(`${minimal}[log]\nlevel = "error"`, env, { 'listen.api': 'localhost:2' })
    expect(config.log).toEqual({ level: 'warn', pretty: true })
    expect(config.listen).toEqual({ api: { host: 'localhost', port: 2 }, peers: { host: '::1', port: 7444 } })
  })

  it('needs no file', async () => {
    const { config } = await loadConfig({
      env: {
        CIPHERLOG_DATA_DIR: 'd',
        CIPHERLOG_KEYS_FILE: '/k',
        CIPHERLOG_GENESIS_FILE: '/g',
        CIPHERLOG_LISTEN_PEERS: '127.0.0.1:0',
        CIPHERLOG_PEERS: `[{"id":"${'0a'.repeat(16)}","address":"h:1","api":"https://h:2"}]`,
      },
      flags: { 'listen.api': '127.0.0.1:0', 'tuning.tick_ms': '7' },
    })
    expect(config.dataDir).toBe(resolve('d'))
    expect(config.peers[0]!.id).toBe('0a'.repeat(16))
    expect(config.tuning.tickMs).toBe(7)
  })

  it('takes paths of a file relative to that file', async () => {
    const { config } = await load(minimal)
    expect([config.dataDir, config.genesisFile]).toEqual([join(folder, 'd'), '/g'])
  })

  it('names the key, and what it may have been, when a key is unknown', async () => {
    expect(await failure(`${minimal}[tuning]\nelction_ticks = 3`)).toMatchObject({
      message: expect.stringMatching(/node\.toml: tuning\.elction_ticks: .*did you mean tuning\.election_ticks\?/),
      details: { path: 'tuning.elction_ticks', source: join(folder, 'node.toml') },
    })
    expect((await failure(`dat_dir = "x"\n${minimal}`)).message).toContain('did you mean data_dir?')
    expect((await failure(`${minimal}[tunign]\nx = 1`)).message).toContain('did you mean tuning?')
    expect((await failure(minimal + '[[peers]]\nid = "x"\naddr = "y"')).message).toMatch(/peers\.0/)
    expect((await failure(minimal, {}, { 'log.levle': 'x' })).message).toContain('did you mean log.level?')
  })

  it('names the key and its source when a value is wrong', async () => {
    expect((await failure(minimal, { CIPHERLOG_TUNING_TICK_MS: 'fast' })).message).toMatch(
      /^CIPHERLOG_TUNING_TICK_MS: tuning\.tick_ms: /,
    )
    expect((await failure(minimal, {}, { 'listen.api': 'nowhere' })).message).toBe(
      '--listen-api: listen.api: "nowhere" is not host:port, such as 127.0.0.1:7443',
    )
    expect((await failure(minimal, { CIPHERLOG_PEERS: '[{]' })).message).toMatch(/^CIPHERLOG_PEERS: peers: .*JSON/)
    expect((await failure(`${minimal}[tuning]\nelection_ticks = 3\nheartbeat_ticks = 3`)).details['path']).toBe(
      'tuning.election_ticks',
    )
    expect((await failure(`${minimal}[tls]\ncert_file = "x"`)).message).toMatch(/tls\.key_file: is missing/)
  })

  it('says how to set a key that is missing', async () => {
    expect((await failure(minimal.replace('data_dir = "d"', ''))).message).toMatch(
      /data_dir: is missing; set it in the file, with --data-dir or CIPHERLOG_DATA_DIR/,
    )
  })

  it('refuses two peers with one id', async () => {
    const peer = `[[peers]]\nid = "${'00'.repeat(16)}"\naddress = "a:1"\napi = "https://a:2"\n`
    expect((await failure(minimal + peer + peer)).message).toContain('twice')
  })

  it('points to line and column of broken TOML, and to a file that is not there', async () => {
    expect((await failure('a = ')).message).toMatch(/node\.toml:1:\d+: is not valid TOML/)
    const missing = loadConfig({ file: join(folder, 'nothing.toml'), env: {}, flags: {} })
    await expect(missing).rejects.toMatchObject({ code: 'ERR_CONFIG' })
  })

  it('warns about variables with the prefix that it does not read', async () => {
    const { warnings } = await load(minimal, { CIPHERLOG_LOG_LEVLE: 'x', CIPHERLOG_PASSPHRASE: 'y', PATH: 'z' })
    expect(warnings).toEqual([
      'CIPHERLOG_LOG_LEVLE is not read by a node; did you mean CIPHERLOG_LOG_LEVEL?',
      'CIPHERLOG_PASSPHRASE is not read by a node',
    ])
  })
})

describe('addConfigFlags()', () => {
  it('collects the flags that were given by the path of their key', () => {
    const command = new Command()
    const flags = addConfigFlags(command)
    command.parse(['--listen-api', 'h:1', '--tuning-unapplied-cost-ms-max', '5'], { from: 'user' })
    expect(flags()).toEqual({ 'listen.api': 'h:1', 'tuning.unapplied_cost_ms_max': '5' })
  })
})

describe('parseAddress()', () => {
  it('takes host:port with IPv6 in brackets and nothing else', () => {
    expect(parseAddress('[::1]:80')).toEqual({ host: '::1', port: 80 })
    for (const bad of ['', '80', ':80', 'h:', 'h:65536', '::1:80', 'h:80 ', 'http://h:80']) {
      expect(parseAddress(bad), bad).toBeUndefined()
    }
  })
})
