import { readFile } from 'node:fs/promises'
import { Cipherlog, fileMemory, openKeyringFile } from '@cipherlog/client'
import { decodeTrustPolicy } from '@cipherlog/registry'

const { CIPHERLOG_DIR = '.cipherlog', CIPHERLOG_PASSPHRASE = '', ENDPOINT = 'https://127.0.0.1:7101' } = process.env
const log = await Cipherlog.connect({
  endpoints: [ENDPOINT],
  trustPolicy: decodeTrustPolicy(await readFile(`${CIPHERLOG_DIR}/trust-policy.cbor`)),
  keyring: await openKeyringFile(`${CIPHERLOG_DIR}/me.keyring`, { passphrase: CIPHERLOG_PASSPHRASE }),
  memory: fileMemory(`${CIPHERLOG_DIR}/first-steps.memory`),
})

const done = await log.kv('orders').put('order-42', { total: 1999 }) // sealed here, applied by the cluster
console.log('applied at', done.position)
const receipt = await done.receipt() // published, and verified against the trust policy
console.log('proven at', receipt.position)
console.log(await log.kv('orders').get('order-42'))

await log.counter('revenue').add(1999n) // encrypted, with a zero-knowledge proof that it is in range
console.log('revenue', (await log.counter('revenue').read())?.value) // proven, then opened here
await log.close()
