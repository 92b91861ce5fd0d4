/** The `cipherlog` process: hands its streams to the program and ends with its exit code. */
import { env, exit, stderr, stdin, stdout } from 'node:process'
import { run } from './program.ts'

// `cipherlog watch | head` closes our output: nothing is left to do.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  exit(0)
})

process.exitCode = await run(process.argv.slice(2), { stdin, stdout, stderr, env, stopSignal })

/** Until a command asks for this, Ctrl-C just ends the process. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // The second time somebody really means it.
      if (stop.signal.aborted) exit(130)
      stop.abort()
    })
  }
  return stop.signal
}
