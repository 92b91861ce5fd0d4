/**
 * One `cipherlog-node` process: started, watched until it serves, stopped or killed. Always a process of its own,
 * never a node inside this one, which holds keys that no node may hold.
 *
 * Its output goes straight into its log file, so it outlives whoever started it; what it says is read from there.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { open, type FileHandle } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { CipherlogError } from '@cipherlog/core'
import { type NodeFiles } from './layout.ts'

/** A node that does not serve after this time is not coming up. */
const upMsMax = 60_000
const pollMs = 40
/** What is read of a log when its last lines are wanted. */
const tailBytes = 65_536

export interface NodeProcess {
  readonly number: number
  readonly pid: number
  /** `https://host:port`. */
  readonly apiUrl: string
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
  /** Asks it to stop and waits. */
  stop(): Promise<void>
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
}

export interface NodeProcessOptions {
  /** Goes on when this process ends, and does not hear the terminal's Ctrl-C. */
  readonly detached?: boolean
  /** A program that becomes the node, with its arguments: for a namespace, a limit or another user. */
  readonly startWith?: (node: NodeFiles) => readonly string[]
}

/**
 * Starts a node and waits until it serves.
 * @throws CipherlogError `ERR_NODE_START` with the node's own last words
 */
export async function startNodeProcess(
  node: NodeFiles,
  { detached = false, startWith = () => [] }: NodeProcessOptions = {},
): Promise<NodeProcess> {
  const log = await open(node.logFile, 'a+')
  try {
    const from = (await log.stat()).size
    const program = fileURLToPath(import.meta.resolve('@cipherlog/server/bin'))
    const [command, ...words] = [...startWith(node), process.execPath, program, 'run', '--config', node.configFile]
    const child = spawn(command!, words, { stdio: ['ignore', log.fd, log.fd], detached, env: nodeEnvironment() })
    const exited = exitOf(child)
    const apiUrl = await waitUntilUp(node, child, exited, log, from)
    if (detached) child.unref()
    return {
      number: node.number,
      pid: child.pid!,
      apiUrl,
      exited,
      stop: () => end(child, exited, 'SIGTERM'),
      kill: () => end(child, exited, 'SIGKILL'),
    }
  } finally {
    await log.close()
  }
}

/** The end of what a node said, without empty lines. */
export async function lastWords(node: NodeFiles, lines = 3): Promise<string[]> {
  const log = await open(node.logFile, 'r')
  try {
    const { size } = await log.stat()
    const text = await readFrom(log, Math.max(0, size - tailBytes))
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-lines)
  } finally {
    await log.close()
  }
}

/** A node's settings stand in its file; the passphrase of a person is none of its business. */
function nodeEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CIPHERLOG_')))
}

function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 0))
    // Without this event there is no `exit`: the program could not be started at all.
    child.once('error', () => resolve(127))
  })
}

async function waitUntilUp(
  node: NodeFiles,
  child: ChildProcess,
  exited: Promise<number | NodeJS.Signals>,
  log: FileHandle,
  from: number,
): Promise<string> {
  let ended: number | NodeJS.Signals | undefined
  void exited.then((how) => (ended = how))
  const deadline = performance.now() + upMsMax
  for (;;) {
    // Read after looking whether it ended, so that its last line is not missed.
    const over = ended
    const apiUrl = announcedUrl(await readFrom(log, from))
    if (apiUrl !== undefined) return apiUrl
    if (over !== undefined) throw await startFailed(node, `ended with ${over}`)
    if (performance.now() > deadline) {
      await end(child, exited, 'SIGKILL')
      throw await startFailed(node, `did not serve within ${upMsMax / 1000} s`)
    }
    await sleep(pollMs)
  }
}

async function startFailed(node: NodeFiles, how: string): Promise<CipherlogError> {
  const words = await lastWords(node)
  return new CipherlogError(
    'ERR_NODE_START',
    `Node ${node.number} ${how}: ${words.at(-1) ?? 'it said nothing'}. Its log is ${node.logFile}.`,
    { details: { node: node.number, logFile: node.logFile, lastWords: words } },
  )
}

async function readFrom(log: FileHandle, from: number): Promise<string> {
  const { size } = await log.stat()
  const { buffer, bytesRead } = await log.read(Buffer.alloc(Math.max(0, size - from)), 0, null, from)
  return buffer.toString('utf8', 0, bytesRead)
}

/** The API address in the line that a node prints when it is up. */
function announcedUrl(log: string): string | undefined {
  const line = log.split('\n').find((candidate) => candidate.startsWith('{"event":"up"') && candidate.endsWith('}'))
  return line === undefined ? undefined : (JSON.parse(line) as { api: string }).api
}

async function end(child: ChildProcess, exited: Promise<unknown>, signal: NodeJS.Signals): Promise<void> {
  // A detached node keeps no process alive; whoever waits for its end does.
  child.ref()
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  await exited
}
