/** The first client of a cluster: the key operator, who runs everything at first, grants it all operations. */
import { type Cipherlog } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { roles } from '@cipherlog/format'
import { possessionOf } from '@cipherlog/registry'
import { everything } from '../grants.ts'

/** Adds the log's own identity as a client, unless it is one already. @returns whether it was added now. */
export async function registerOwnClient(log: Cipherlog): Promise<boolean> {
  const { identity, cluster, view } = log
  if (identity === undefined || view.current.registry.client(identity.client) !== undefined) return false
  await new Operator(log).submit({
    type: 'addClient',
    client: identity.client,
    publicKey: publicKeyOf(identity.secretKey),
    possession: possessionOf(identity.secretKey, roles.client, cluster),
    grants: [everything],
    label: 'me',
  })
  return true
}
