import { createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { freePorts, requireFree } from './free-ports.ts'

test('freePorts() gives different ports that can be used', async () => {
  const ports = await freePorts(8)
  expect(new Set(ports).size).toBe(8)
  await requireFree(ports)
})

test('requireFree() names the port that is taken', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await expect(requireFree([port])).rejects.toMatchObject({ code: 'ERR_LISTEN_ADDRESS_IN_USE', details: { port } })
  await new Promise((resolve) => server.close(resolve))
})
