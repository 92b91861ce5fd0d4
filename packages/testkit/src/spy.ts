/**
 * Loaded into a real node process with `--import` (and by it into every worker): writes down which modules it
 * loads, and every byte that its connections carry, after TLS has opened and before it has closed them. Observes,
 * changes nothing.
 *
 * SPY_FOLDER names a folder; files in it are named by process and thread.
 */
import { appendFileSync } from 'node:fs'
import http2, { type ServerHttp2Stream } from 'node:http2'
import { registerHooks, syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { threadId } from 'node:worker_threads'

const folder = process.env['SPY_FOLDER']
if (folder === undefined) throw new Error('SPY_FOLDER names no folder')
const file = (what: string): string => join(folder, `${process.pid}-${threadId}.${what}`)

registerHooks({
  load(url, context, nextLoad) {
    appendFileSync(file('modules'), `${url}\n`)
    return nextLoad(url, context)
  },
})

type Channel = Record<'write' | 'push', (chunk: unknown, ...rest: unknown[]) => boolean>

/** Both directions of a stream pass through these two methods. */
function listenTo(target: Channel): void {
  for (const method of ['write', 'push'] as const) {
    const original = target[method]
    target[method] = function (this: unknown, chunk: unknown, ...rest: unknown[]) {
      if (chunk instanceof Uint8Array || typeof chunk === 'string') appendFileSync(file('frames'), chunk)
      return original.call(this, chunk, ...rest)
    }
  }
}

// Peers and HTTP/1.1 speak through sockets; HTTP/2 takes the socket over and hands out streams.
listenTo(TLSSocket.prototype as unknown as Channel)
const { createSecureServer } = http2
http2.createSecureServer = ((...args: Parameters<typeof createSecureServer>) => {
  const server = createSecureServer(...args)
  server.on('stream', (stream: ServerHttp2Stream) => listenTo(stream as unknown as Channel))
  return server
}) as typeof createSecureServer
syncBuiltinESMExports()
