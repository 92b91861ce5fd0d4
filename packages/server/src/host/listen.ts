/** Binding a listening socket, with errors that say what to do. */
import { type AddressInfo, type Server } from 'node:net'
import { CipherlogError } from '@cipherlog/core'
import { type Address } from './config.ts'

/**
 * Starts to listen and gives the address bound, which matters for port 0.
 * @throws CipherlogError `ERR_LISTEN_ADDRESS_IN_USE`, `ERR_LISTEN_FAILED`
 */
export function listen(
  server: Pick<Server, 'listen' | 'once' | 'off' | 'address'>,
  address: Address,
): Promise<Address> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      server.off('listening', onListening)
      const { host, port } = address
      reject(
        cause.code === 'EADDRINUSE'
          ? new CipherlogError(
              'ERR_LISTEN_ADDRESS_IN_USE',
              `${host}:${port} is in use; stop what listens there, or configure another port.`,
              { cause, details: { host, port } },
            )
          : new CipherlogError(
              'ERR_LISTEN_FAILED',
              `Cannot listen on ${host}:${port} (${cause.code}); check that the address is this host's and allowed.`,
              { cause, details: { host, port } },
            ),
      )
    }
    const onListening = (): void => {
      server.off('error', onError)
      const bound = server.address() as AddressInfo
      resolve({ host: bound.address, port: bound.port })
    }
    server.once('error', onError)
    server.once('listening', onListening)
    server.listen(address.port, address.host)
  })
}
