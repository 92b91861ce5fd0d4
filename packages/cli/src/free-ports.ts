/** Ports that nobody listens on at this moment. */
import { createServer } from 'node:net'
import { CipherlogError } from '@cipherlog/core'

/** `count` free loopback ports, chosen by the system. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listening(0)))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** @throws CipherlogError `ERR_LISTEN_ADDRESS_IN_USE` unless all of `ports` are free */
export async function requireFree(ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    const server = await listening(port)
    await new Promise((resolve) => server.close(resolve))
  }
}

function listening(port: number): Promise<ReturnType<typeof createServer>> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', (cause) =>
      reject(
        new CipherlogError('ERR_LISTEN_ADDRESS_IN_USE', `Port ${port} is taken; choose others with --base-port.`, {
          cause,
          details: { port },
        }),
      ),
    )
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
