/** TCP ports on the loopback interface that nobody listens on at this moment. */
import { createServer, type AddressInfo, type Server } from 'node:net'
import { CipherlogError } from '@cipherlog/core'

/** `count` different ports, chosen by the system. */
export async function freePorts(count: number): Promise<number[]> {
  // All at once, or the system may hand out the same one again.
  const servers = await Promise.all(Array.from({ length: count }, () => listenOn(0)))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(close))
  return ports
}

/** @throws CipherlogError `ERR_LISTEN_ADDRESS_IN_USE` unless all of `ports` are free */
export async function requireFree(ports: readonly number[]): Promise<void> {
  for (const port of ports) await close(await listenOn(port))
}

function listenOn(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause) => {
      const message = `Port ${port} cannot be used (${cause.message}); choose others with --base-port.`
      reject(new CipherlogError('ERR_LISTEN_ADDRESS_IN_USE', message, { cause, details: { port } }))
    })
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
