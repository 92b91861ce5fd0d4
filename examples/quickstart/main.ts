/**
 * The whole promise in one go: three replicas that cannot read what they replicate, proofs checked before apply, a
 * crash in the middle, a rotated key, a revoked client, a tampering host caught, and an auditor who confirms it all
 * offline. Real processes, real cryptography, real input; every step is checked, and the exit code is 0 only if
 * every one held.
 *
 *     npm run quickstart                     with examples/data/usage-events.csv
 *     npm run quickstart -- --input FILE     with your own file of the same columns
 *     npm run quickstart -- --keep           leaves the cluster running and says what to try
 */
import { randomBytes } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { auditTrail } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import {
  connectAs,
  createCluster,
  listNodes,
  readTrustPolicy,
  registerOwnClient,
  startNodeProcess,
  startNodes,
  stopNodes,
  type NodeFiles,
  type NodeProcess,
  type Profile,
} from '@cipherlog/cli/cluster'
import { runTamperDemo } from '@cipherlog/cli/demo'
import { progressBar } from '@cipherlog/cli/progress-bar'
import { Cipherlog, inMemory, type Keyring } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { CipherlogError } from '@cipherlog/core'
import { suites } from '@cipherlog/format'
import { readNodeKeys } from '@cipherlog/server'
import { stateDatabase } from '@cipherlog/storage'
import { searchDatabase, searchFolders, textCanary, type Canary } from '@cipherlog/testkit/canaries'
import { complain, require, say, step, StepFailed, type Step } from './show.ts'
import { latencyBuckets, latencyByHour, readUsageEvents, sumByAccountAndHour, type UsageEvent } from './usage-events.ts'

const events = 'usage/events'
const amounts = 'usage/amounts'
const latencies = 'usage/latencies'
const shippedInput = fileURLToPath(new URL('../data/usage-events.csv', import.meta.url))
const everything = { namespaces: '*', operations: ['envelope', 'put', 'delete', 'append', 'add'] }

/** What the steps hand on to each other. */
interface Scene {
  readonly directory: string
  readonly passphrase: string
  readonly profile: Profile
  readonly nodes: readonly NodeFiles[]
  readonly running: NodeProcess[]
  /** What the nodes' own processes saw on their connections. */
  readonly spyFolder: string
  readonly log: Cipherlog
  readonly operator: Operator
  readonly keysets: { readonly values: Uint8Array; readonly amounts: Uint8Array }
}

const { values: options } = parseArgs({
  options: { input: { type: 'string' }, keep: { type: 'boolean', default: false } },
})

const start = performance.now()
let scene: Scene | undefined
const folder = await mkdtemp(join(tmpdir(), 'cipherlog-quickstart-'))
try {
  await play(options.input ?? shippedInput)
  say(`\nEvery step held, in ${((performance.now() - start) / 1000).toFixed(0)} s.`)
  if (options.keep && scene !== undefined) sayWhatToTry(scene)
} catch (error) {
  process.exitCode = 1
  complain(`\nThis step did not hold: ${error instanceof Error ? error.message : String(error)}`)
  if (error instanceof CipherlogError) complain(`  ${error.code}`)
  else if (error instanceof Error && !(error instanceof StepFailed)) complain(error.stack ?? '')
  if (scene !== undefined) complain(`  The nodes' logs are in ${scene.directory}/nodes; run with --keep to keep them.`)
} finally {
  if (!(options.keep && process.exitCode === undefined)) {
    await scene?.log.close()
    await stopNodes(scene?.running ?? [])
    if (!options.keep) await rm(folder, { recursive: true, force: true })
  } else {
    await scene?.log.close()
  }
}

async function play(input: string): Promise<void> {
  say('Cipherlog quickstart: three replicas that cannot read what they replicate.')
  say(
    'The proving keys are development keys: whoever made them could forge proofs. A production cluster refuses them.\n',
  )

  const rows = await step('Read the usage events', async ({ fact }) => {
    const read = await readUsageEvents(input)
    fact(`${read.length} events from ${relative(process.cwd(), input)}`)
    return read
  })
  scene = await step('Create a cluster of three processes, a writer, keysets and namespaces', createScene)
  await step('Import: seal, prove, add; one replica is killed in the middle', (at) => importRows(scene!, rows, at))
  await step('Open the sums and compare them with the file', (at) => checkSums(scene!, rows, at))
  await step('Rotate the keys; old and new open together', (at) => rotate(scene!, rows, at))
  await step('Offer a forged proof, repeat a bundle, revoke a client', (at) => misbehave(scene!, at))
  await step('Let a host tamper with what it stores and hands out', (at) => tamper(scene!, at))
  await step('Audit a copy of the trail with no server running', (at) => audit(scene!, at))
  await step('Search every server file and frame for the plaintext', (at) => search(scene!, rows, at))
}

async function createScene({ doing, fact }: Step): Promise<Scene> {
  const directory = join(folder, 'cluster')
  const spyFolder = join(folder, 'seen-by-nodes')
  const passphrase = randomBytes(16).toString('hex')
  await mkdir(spyFolder)
  const profile = await createCluster(directory, { name: 'quickstart.example', nodes: 3, passphrase })
  const nodes = await listNodes(directory)
  doing('starting the nodes')
  const running = await watched(spyFolder, () => startNodes(nodes, { detached: options.keep }))
  doing('waiting for a leader and the first cosigned checkpoint')
  try {
    const log = await connectAs(profile, passphrase)
    await registerOwnClient(log)
    const operator = new Operator(log)
    doing('creating keysets and namespaces')
    const readers = [log.keyring]
    const values = await operator.createKeyset({ suite: suites.hpkeXwing, readers, label: 'events' })
    await operator.createNamespace({ name: events, machine: 'kv', suite: suites.hpkeXwing, keyset: values.keyset })
    const sums = await operator.createKeyset({ suite: suites.elgamalBjj, readers, label: 'amounts' })
    await operator.createNamespace({
      name: amounts,
      machine: 'counter',
      suite: suites.elgamalBjj,
      keyset: sums.keyset,
      circuit: 'sealed-amount-32',
    })
    const vectors = await operator.createKeyset({ suite: suites.bfv4096, readers, label: 'latencies' })
    await operator.createNamespace({
      name: latencies,
      machine: 'vector',
      suite: suites.bfv4096,
      keyset: vectors.keyset,
      vector: { length: latencyBuckets, maxAbs: 100_000, maxCount: 40 },
    })
    fact(`${profile.endpoints.join('  ')}`)
    fact(`${log.view.current.registry.head.number} key events, signed by the operator and cosigned by 2 of 3 replicas`)
    return {
      directory,
      passphrase,
      profile,
      nodes,
      running: [...running],
      spyFolder,
      log,
      operator,
      keysets: { values: values.keyset, amounts: sums.keyset },
    }
  } catch (error) {
    await stopNodes(running)
    throw error
  }
}

/**
 * Each node that `start` starts writes down what passes through its connections, so that the last step can look for
 * plaintext there. This process, which holds the keys, does not.
 */
async function watched<T>(spyFolder: string, start: () => Promise<T>): Promise<T> {
  process.env['SPY_FOLDER'] = spyFolder
  process.env['NODE_OPTIONS'] = `--import=${import.meta.resolve('@cipherlog/testkit/spy')}`
  try {
    return await start()
  } finally {
    delete process.env['SPY_FOLDER']
    delete process.env['NODE_OPTIONS']
  }
}

async function importRows(
  { log, running, nodes, spyFolder }: Scene,
  rows: readonly UsageEvent[],
  { doing, fact }: Step,
): Promise<void> {
  const sums = sumByAccountAndHour(rows)
  const histograms = [...latencyByHour(rows)]
  const total = rows.length + sums.length + histograms.length
  const began = performance.now()
  let done = 0
  const tick = (what: string): void => doing(`${progressBar(++done, total, performance.now() - began)}  ${what}`)

  const kv = log.kv(events)
  await Promise.all(rows.map((row, i) => kv.put(`event-${i}`, { ...row }).then(() => tick('events sealed'))))
  const [victim] = running
  for (const [i, sum] of sums.entries()) {
    await log.counter(amounts).add(sum.cents)
    tick('amounts proven')
    if (i === Math.floor(sums.length / 2)) {
      await victim!.kill()
      fact(`node ${victim!.number} was killed (SIGKILL) after ${i + 1} of ${sums.length} proofs; the import went on`)
    }
  }
  for (const [hour, histogram] of histograms) {
    await log.vector(latencies).add(histogram, { cell: hour })
    tick('vectors added')
  }
  running[0] = await watched(spyFolder, () => startNodeProcess(nodes[0]!, { detached: options.keep }))
  fact(`${rows.length} events in kv, ${sums.length} amounts with a proof each, ${histograms.length} latency vectors`)
}

async function checkSums({ log }: Scene, rows: readonly UsageEvent[], { doing, fact }: Step): Promise<void> {
  doing('opening the counter')
  const expected = rows.reduce((sum, row) => sum + BigInt(row.amountCents), 0n)
  const opened = await log.counter(amounts).read()
  require(opened?.value === expected, `the counter opened to ${opened?.value}, the file says ${expected}`)
  fact(`the sum of ${opened.count} ciphertexts opens to ${expected} cents: as in the file`)
  for (const [hour, histogram] of latencyByHour(rows)) {
    doing(`opening the vector of ${hour}`)
    const vector = await log.vector(latencies).read({ cell: hour })
    require(String(vector?.values) ===
      String(histogram), `the vector of ${hour} opened to ${vector?.values}, the file says ${histogram}`)
  }
  fact(`${latencyByHour(rows).size} latency histograms open to those of the file`)
  const some = Math.floor(rows.length / 2)
  const read = await log.kv(events).get(`event-${some}`)
  require(isDeepStrictEqual(read?.value, { ...rows[some] }), 'an event reads back differently')
}

async function rotate(
  { log, operator, keysets }: Scene,
  rows: readonly UsageEvent[],
  { doing, fact }: Step,
): Promise<void> {
  const readers: readonly Keyring[] = [log.keyring]
  doing('rotating the key of the events')
  const { keyEpoch } = await operator.rotateKey({ keyset: keysets.values, readers, graceMs: 1_000 })
  await log.kv(events).put('event-after-rotation', 'sealed under the new key')
  doing('rotating the key of the amounts')
  await operator.rotateKey({ keyset: keysets.amounts, readers, graceMs: 1_000 })
  await log.counter(amounts).add(1n)
  const old = await log.kv(events).get('event-0')
  const fresh = await log.kv(events).get('event-after-rotation')
  require(old !== undefined && fresh?.value === 'sealed under the new key', 'a value does not open after the rotation')
  const expected = rows.reduce((sum, row) => sum + BigInt(row.amountCents), 1n)
  const opened = await log.counter(amounts).read()
  require(opened?.value === expected, `after the rotation the counter opened to ${opened?.value}, not ${expected}`)
  fact(`key epoch ${keyEpoch}; the counter has a slice for each key and still opens to the whole sum`)
}

async function misbehave({ log, operator, profile }: Scene, { doing, fact }: Step): Promise<void> {
  const { lowLevel } = log
  doing('proving, then swapping proofs')
  const [first, second] = [await log.counter(amounts).sealAdd(5n), await log.counter(amounts).sealAdd(6n)]
  const forged = lowLevel.replaceBodies(first, { ciphertext: first.bodies.ciphertext, proof: second.bodies.proof })
  const refusal = await codeOf(async () => lowLevel.proposeBundle(await lowLevel.sealBundle([forged])))
  require(refusal === 'ERR_PROOF', `a forged proof got ${refusal}`)
  fact('a proof of another amount: refused at admission (ERR_PROOF), nothing was logged')

  doing('repeating a bundle')
  const bundle = await lowLevel.sealBundle(await lowLevel.sealPut(events, 'repeated', 1))
  const once = await lowLevel.proposeBundle(bundle)
  const again = await lowLevel.proposeBundle(bundle)
  require(again.duplicate && again.leaf === once.leaf, 'the same bytes made a second leaf')
  fact(`the same bytes again: the first answer (leaf ${once.leaf}), no second leaf`)

  doing('revoking a client')
  const leaving = await operator.addClient({ grants: [everything], label: 'leaving' })
  const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
  const theirs = await Cipherlog.connect({
    endpoints: profile.endpoints,
    trustPolicy,
    identity: leaving,
    keyring: log.keyring,
    memory: inMemory(),
  })
  try {
    const sealed = await theirs.lowLevel.sealBundle(await theirs.lowLevel.sealPut(events, 'too late', 1))
    await operator.revokeClient(leaving.client, 'left the company')
    const { verdictNames, leaf } = await theirs.lowLevel.proposeBundle(sealed)
    require(verdictNames.every((name) => name === 'revoked'), `a revoked client got ${verdictNames.join(', ')}`)
    fact(`a bundle sealed before the revocation: rejected (revoked) in leaf ${leaf}, for every auditor to see`)
  } finally {
    await theirs.close()
  }
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run()
    return 'no error'
  } catch (error) {
    if (error instanceof CipherlogError) return error.code
    throw error
  }
}

async function tamper({ log, nodes, profile, passphrase }: Scene, { doing, fact }: Step): Promise<void> {
  await (await log.kv(events).put('before-tampering', 1)).receipt()
  const [host] = nodes
  const codes = new Set<string>()
  const demo = runTamperDemo({
    trailDirectory: host!.trailDirectory,
    trustPolicy: await readTrustPolicy(profile.trustPolicyFile),
    endpoint: profile.endpoints[0]!,
    nodeKeys: await readNodeKeys(host!.keysFile),
    write: async (endpoint) => {
      const victim = await connectAs(profile, passphrase, { endpoints: [endpoint], memory: inMemory() })
      try {
        await victim.kv(events).put('to-a-hostile-node', 1)
      } finally {
        await victim.close()
      }
    },
  })
  for await (const { attack, refused, code, noticedBy } of demo) {
    doing(attack)
    require(refused && code !== undefined, `${attack}: nobody noticed`)
    codes.add(code)
    fact(`${attack}: the ${noticedBy} says ${code}`)
  }
  require(codes.size >= 3, 'different attacks got the same error')
}

async function audit(at: Scene, { doing, fact }: Step): Promise<void> {
  await (await at.log.kv(events).put('the last', 1)).receipt()
  doing('stopping the cluster')
  await at.log.close()
  await stopNodes(at.running)
  const copy = join(folder, 'auditor')
  await cp(at.nodes[1]!.trailDirectory, copy, { recursive: true })
  const verifier = await createWorkerVerifier({ threads: 1 })
  try {
    const report = await auditTrail(trailDirectory(copy), {
      trustPolicy: await readTrustPolicy(at.profile.trustPolicyFile),
      verifier,
      onProgress: ({ step: what, done, total }) => doing(`${what} ${done}/${total}`),
    })
    require(report.valid, `the audit found: ${report.problems.map(({ message }) => message).join('; ')}`)
    const verdicts = Object.entries(report.verdicts).map(([name, count]) => `${count} ${name}`)
    fact(`valid: ${report.treeSize} leaves, ${verdicts.join(', ')}, ${report.proofsChecked} proofs checked again`)
    fact(`to repeat it: npx cipherlog audit verify DIR --policy ${relative(process.cwd(), at.profile.trustPolicyFile)}`)
  } finally {
    await verifier.close()
  }
}

async function search(at: Scene, rows: readonly UsageEvent[], { doing, fact }: Step): Promise<void> {
  const canaries: Canary[] = [...new Set(rows.map(({ account }) => account))]
    .filter((account) => account.length >= 6)
    .map((account) => textCanary(`account ${account}`, account))
  canaries.push(
    ...rows.slice(0, 20).map(({ time }) => textCanary(`time ${time}`, time)),
    textCanary('name', 'event-after-rotation'),
    textCanary('value', 'sealed under the new key'),
  )
  const data = at.nodes.map(({ directory }) => join(directory, 'data'))
  doing('files and frames')
  const { sightings, files, bytes } = await searchFolders([...data, at.spyFolder], canaries)
  doing('databases')
  for (const folderOfNode of data)
    sightings.push(...(await searchDatabase(await stateDatabase(join(folderOfNode, 'state')), canaries)))
  require(sightings.length === 0, `plaintext was found: ${JSON.stringify(sightings[0])}`)
  // A search that looked at nothing would find nothing.
  const frames = (await readdir(at.spyFolder)).filter((name) => name.endsWith('.frames'))
  const seen = await Promise.all(frames.map((name) => readFile(join(at.spyFolder, name))))
  const framed = seen.reduce((sum, file) => sum + file.length, 0)
  require(files > 20 && framed > 100_000, 'the search had nothing to look at')
  fact(
    `${canaries.length} planted texts in 9 encodings: none in ${files} files, ${(bytes / 1e6).toFixed(1)} MB, ${(framed / 1e6).toFixed(1)} MB of it frames`,
  )
  if (options.keep) at.running.splice(0, 3, ...(await startNodes(at.nodes, { detached: true })))
}

function sayWhatToTry({ directory, passphrase, profile }: Scene): void {
  say(`
The cluster is still up. Try:

  export CIPHERLOG_DIR=${directory} CIPHERLOG_PASSPHRASE=${passphrase}
  npx cipherlog status
  npx cipherlog get ${events} event-0
  npx cipherlog read ${amounts}
  npx cipherlog watch
  curl -k ${profile.endpoints[0]}/readyz
  npx cipherlog down        # when you are done; then remove ${folder}`)
}
