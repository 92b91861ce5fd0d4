/** One `cipherlog-node` process: started, watched until it is up, stopped or killed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CipherlogError } from '@cipherlog/core'

const bin = fileURLToPath(import.meta.resolve('@cipherlog/server/bin'))
/** A node that says nothing for this long is not coming up. */
const upMsMax = 60_000

export interface NodeProcess {
  readonly pid: number
  readonly apiUrl: string
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
  /** Asks it to stop and waits. */
  stop(): Promise<void>
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
}

/**
 * Starts a node and waits until it serves.
 * @param logFile - gets everything it prints; appended.
 * @throws CipherlogError `ERR_NODE_START` with the node's own last words
 */
export async function startNodeProcess(configFile: string, logFile: string): Promise<NodeProcess> {
  const child = spawn(process.execPath, [bin, 'run', '--config', configFile], { stdio: ['ignore', 'pipe', 'pipe'] })
  const log = createWriteStream(logFile, { flags: 'a' })
  const lastLines: string[] = []
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 0))
  })
  const remember = (line: string): void => {
    log.write(`${line}\n`)
    lastLines.push(line)
    if (lastLines.length > 20) lastLines.shift()
  }
  const apiUrl = await new Promise<string>((resolve, reject) => {
    const fail = (why: string): void =>
      reject(
        new CipherlogError('ERR_NODE_START', `The node of ${configFile} ${why}. It said: ${lastLines.at(-1) ?? 'nothing'}`, {
          details: { logFile, lastLines },
        }),
      )
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail('did not come up in time')
    }, upMsMax)
    createInterface(child.stdout).on('line', (line) => {
      remember(line)
      const up = parseUp(line)
      if (up === undefined) return
      clearTimeout(timer)
      resolve(up)
    })
    createInterface(child.stderr).on('line', remember)
    child.on('error', (error) => fail(`could not be started: ${error.message}`))
    void exited.then((how) => {
      clearTimeout(timer)
      fail(`ended (${how})`)
    })
  })
  return {
    pid: child.pid!,
    apiUrl,
    exited,
    stop: () => end(child, exited, 'SIGTERM'),
    kill: () => end(child, exited, 'SIGKILL'),
  }
}

async function end(child: ChildProcess, exited: Promise<unknown>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  await exited
}

/** The API address in the line that a node prints when it is up. */
function parseUp(line: string): string | undefined {
  if (!line.startsWith('{"event":"up"')) return undefined
  return (JSON.parse(line) as { api: string }).api
}
